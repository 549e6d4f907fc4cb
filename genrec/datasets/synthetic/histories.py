"""Synthetic histories: latents of items -> histories, drawn step by step for all users at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genrec.runtime.seeds import derive
from genrec.types import ABSENT, Histories

_MIN_LENGTH, _MAX_LENGTH, _STOP_RATIO = 5, 20, 0.3
_KIT_SIZE = 6
_FOLLOW_RATIO = 0.85  # the next of the kit; else the one after it
_ANCHOR_RATIO = 0.8  # a step looks back at the last item; else at the one before
_CHANCE_RATIO = 0.1  # steps that follow nothing but popularity
_HEAD, _TAIL_EXPONENT = 20.0, 1.5  # popularity of rank r: (20 + r) ** -1.5
_FLATNESS = 0.5  # within a style or a look, popularity counts with this exponent
_ARRIVAL_RATIO = 0.05
_REDRAWS = 6


@dataclass(frozen=True)
class Latents:
    """Latent variables of the items, one entry an item."""

    followers_IM: np.ndarray
    """Items that follow item i: the next of its kit, and the one after that; ABSENT for cold items, int64 (I, 2)."""
    style_I: np.ndarray
    """Expressed by the text, int64 (I,)."""
    look_I: np.ndarray
    """Expressed by the image, int64 (I,)."""
    popularity_I: np.ndarray
    """Sampling weight, long-tailed, float64 (I,), sums to 1."""
    is_arrival_I: np.ndarray
    """Cold items: only among a user's last two items, so they occur in no training history, bool (I,)."""


def draw_latents(num_items: int, num_styles: int, num_looks: int, seed: int) -> Latents:
    """Draw all latents; styles and looks are independent of everything, kits join items of similar popularity."""
    random = np.random.default_rng(derive(seed, "latents", "arrivals"))
    is_arrival_I = np.zeros(num_items, dtype=np.bool_)
    is_arrival_I[random.choice(num_items, round(_ARRIVAL_RATIO * num_items), replace=False)] = True

    random = np.random.default_rng(derive(seed, "latents", "popularity"))
    weight_I = (_HEAD + random.permutation(num_items)) ** -_TAIL_EXPONENT
    weight_I[is_arrival_I] = np.quantile(weight_I, 0.8)  # frequent enough for evaluation

    # Kits of similar popularity: a rare item must not follow a popular one.
    random = np.random.default_rng(derive(seed, "latents", "kits"))
    on_sale = np.flatnonzero(~is_arrival_I)
    on_sale = on_sale[np.argsort(-weight_I[on_sale] * random.uniform(0.5, 1.0, len(on_sale)), kind="stable")]
    followers_IM = np.full((num_items, 2), ABSENT, dtype=np.int64)
    for kit in np.array_split(on_sale, max(len(on_sale) // _KIT_SIZE, 1)):
        kit = random.permutation(kit)
        followers_IM[kit, 0], followers_IM[kit, 1] = np.roll(kit, -1), np.roll(kit, -2)
    return Latents(
        followers_IM=followers_IM,
        style_I=_groups(num_items, num_styles, derive(seed, "latents", "style")),
        look_I=_groups(num_items, num_looks, derive(seed, "latents", "look")),
        popularity_I=weight_I / weight_I.sum(),
        is_arrival_I=is_arrival_I,
    )


def _groups(num_items: int, num_groups: int, seed: int) -> np.ndarray:
    """Groups of equal size (up to one), at random."""
    return np.random.default_rng(seed).permutation(num_items) % num_groups


def draw_histories(latents: Latents, num_users: int, weights: tuple[float, float, float], seed: int) -> Histories:
    """Draw the history of every user; no item occurs twice in it.

    Each step draws a mechanism and a recent item: behavior takes one of its followers, text an item of the same style,
    look an item of the same look, the latter two by popularity; a few steps depend on popularity alone. A latent with
    weight 0 has no influence: the random numbers are the same, and none selects it.

    Args:
        latents: of the items.
        num_users: histories to draw.
        weights: of behavior, text and look, at least 0; all 0 leaves popularity alone.
        seed: for all draws.
    """
    random = np.random.default_rng(derive(seed, "purchases"))
    length_U = np.minimum(_MIN_LENGTH - 1 + random.geometric(_STOP_RATIO, num_users), _MAX_LENGTH)
    mechanisms = _Mechanisms.of(latents, weights)
    num_items = len(latents.popularity_I)
    has_UI = np.zeros((num_users, num_items), dtype=np.bool_)
    items_UT = np.full((num_users, _MAX_LENGTH), ABSENT, dtype=np.int64)
    for step in range(_MAX_LENGTH):
        is_open_U = length_U > step
        is_late_U = step >= length_U - 2
        for _ in range(_REDRAWS):
            chosen_U = mechanisms.choose(items_UT[:, max(step - 2, 0) : step], is_late_U, random.random((num_users, 3)))
            taken_U = is_open_U & (chosen_U != ABSENT) & ~has_UI[np.arange(num_users), chosen_U]
            items_UT[taken_U, step] = chosen_U[taken_U]
            has_UI[taken_U, chosen_U[taken_U]] = True
            is_open_U = is_open_U & ~taken_U
        for user in np.flatnonzero(is_open_U):  # users whose draws were all items they already have
            left_I = latents.popularity_I * ~has_UI[user] * (is_late_U[user] | ~latents.is_arrival_I)
            items_UT[user, step] = random.choice(num_items, p=left_I / left_I.sum())
            has_UI[user, items_UT[user, step]] = True
    offsets = np.concatenate([[0], np.cumsum(length_U)]).astype(np.int64)
    return Histories(items_UT[items_UT != ABSENT].astype(np.int32), offsets)


@dataclass(frozen=True)
class _Mechanisms:
    """The four mechanisms: from the last items of each user to the next."""

    followers_IM: np.ndarray
    bounds: np.ndarray
    """Upper bounds of behavior, text and look on [0, 1); popularity takes the rest."""
    style: _Sampler
    look: _Sampler
    anything: _Sampler

    @classmethod
    def of(cls, latents: Latents, weights: tuple[float, float, float]) -> _Mechanisms:
        total = sum(weights)
        shares = np.array(weights) * ((1 - _CHANCE_RATIO) / total if total else 0.0)
        return cls(
            latents.followers_IM,
            np.cumsum(shares),
            style=_Sampler.of(latents.style_I, latents.popularity_I**_FLATNESS, latents.is_arrival_I),
            look=_Sampler.of(latents.look_I, latents.popularity_I**_FLATNESS, latents.is_arrival_I),
            anything=_Sampler.of(np.zeros_like(latents.style_I), latents.popularity_I, latents.is_arrival_I),
        )

    def choose(self, recent_UT: np.ndarray, is_late_U: np.ndarray, uniform_U3: np.ndarray) -> np.ndarray:
        """One item for each user, ABSENT where the mechanism has none.

        Args:
            recent_UT: the last up to two items, oldest first.
            is_late_U: whether cold items are allowed for this user.
            uniform_U3: numbers in [0, 1), the only randomness.
        """
        mechanism_U = np.searchsorted(self.bounds, uniform_U3[:, 0], side="right")
        if not recent_UT.shape[1]:
            return self.anything.draw(np.zeros(len(uniform_U3), dtype=np.int64), is_late_U, uniform_U3[:, 2])
        anchor_U = np.where(uniform_U3[:, 1] < _ANCHOR_RATIO, recent_UT[:, -1], recent_UT[:, 0])
        step_U = (uniform_U3[:, 2] >= _FOLLOW_RATIO).astype(np.int64)
        drawn = (
            self.followers_IM[anchor_U, step_U],
            self.style.draw(anchor_U, is_late_U, uniform_U3[:, 2]),
            self.look.draw(anchor_U, is_late_U, uniform_U3[:, 2]),
            self.anything.draw(anchor_U, is_late_U, uniform_U3[:, 2]),
        )
        return np.choose(mechanism_U, drawn)


@dataclass(frozen=True)
class _Sampler:
    """Draws an item of the same group as a given one, by weight."""

    group_I: np.ndarray
    items: np.ndarray
    """All items, group by group."""
    starts: np.ndarray
    """Where each group starts in ``items``, and the end."""
    early: np.ndarray
    """Weights summed up along ``items``, without cold items, starting with 0."""
    late: np.ndarray
    """The same with cold items."""

    @classmethod
    def of(cls, group_I: np.ndarray, weight_I: np.ndarray, is_arrival_I: np.ndarray) -> _Sampler:
        items = np.argsort(group_I, kind="stable")
        starts = np.searchsorted(group_I[items], np.arange(group_I.max() + 2))
        late = np.concatenate([[0.0], np.cumsum(weight_I[items])])
        early = np.concatenate([[0.0], np.cumsum((weight_I * ~is_arrival_I)[items])])
        return cls(group_I, items, starts, early, late)

    def draw(self, anchor_U: np.ndarray, is_late_U: np.ndarray, uniform_U: np.ndarray) -> np.ndarray:
        """One item for each anchor; ABSENT where its group has none."""
        group_U = self.group_I[anchor_U]
        start_U, end_U = self.starts[group_U], self.starts[group_U + 1]
        drawn = []
        for summed in (self.early, self.late):
            low_U, high_U = summed[start_U], summed[end_U]
            place_U = np.searchsorted(summed, low_U + uniform_U * (high_U - low_U), side="right") - 1
            place_U = np.clip(place_U, start_U, end_U - 1)  # rounding may step over the group's edge
            drawn.append(np.where(high_U > low_U, self.items[place_U], ABSENT))
        return np.where(is_late_U, drawn[1], drawn[0])
