"""The showroom's customers: latents of items -> histories, drawn step by step for all users at once."""

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
    """What decides the purchases, one entry an item."""

    followers_IM: np.ndarray
    """Items bought after item i: the usual one, the one after it; ABSENT for new arrivals, int64 (I, 2)."""
    style_I: np.ndarray
    """Told by the text, int64 (I,)."""
    look_I: np.ndarray
    """Shown by the image, int64 (I,)."""
    popularity_I: np.ndarray
    """Weight in every draw, long-tailed, float64 (I,), sums to 1."""
    is_arrival_I: np.ndarray
    """New arrivals: bought only as one of a user's last two items, so that training never sees them, bool (I,)."""


def draw_latents(num_items: int, num_styles: int, num_looks: int, seed: int) -> Latents:
    """Draw all latents; styles and looks are independent of everything, kits join items of like popularity."""
    random = np.random.default_rng(derive(seed, "latents", "arrivals"))
    is_arrival_I = np.zeros(num_items, dtype=np.bool_)
    is_arrival_I[random.choice(num_items, round(_ARRIVAL_RATIO * num_items), replace=False)] = True

    random = np.random.default_rng(derive(seed, "latents", "popularity"))
    weight_I = (_HEAD + random.permutation(num_items)) ** -_TAIL_EXPONENT
    weight_I[is_arrival_I] = np.quantile(weight_I, 0.8)  # enough purchases to measure them

    # Kits of neighbors in popularity: a rare item shall not owe its buyers to a popular one before it.
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
    """Draw every user's purchases; nobody buys an item twice.

    Each step picks a mechanism and looks back at a recent item: behavior takes one of its followers, text an item of
    the same style, look an item of the same look, the latter two by popularity; a few steps follow popularity alone.
    A latent whose weight is 0 has no influence at all: the numbers drawn are the same, and none of them meets it.

    Args:
        latents: what decides.
        num_users: histories to draw.
        weights: of behavior, text and look, at least 0; all 0 leaves popularity alone.
        seed: for all draws.
    """
    random = np.random.default_rng(derive(seed, "purchases"))
    length_U = np.minimum(_MIN_LENGTH - 1 + random.geometric(_STOP_RATIO, num_users), _MAX_LENGTH)
    shop = _Shop.of(latents, weights)
    num_items = len(latents.popularity_I)
    has_UI = np.zeros((num_users, num_items), dtype=np.bool_)
    bought_UT = np.full((num_users, _MAX_LENGTH), ABSENT, dtype=np.int64)
    for step in range(_MAX_LENGTH):
        is_open_U = length_U > step
        is_late_U = step >= length_U - 2
        for _ in range(_REDRAWS):
            chosen_U = shop.choose(bought_UT[:, max(step - 2, 0) : step], is_late_U, random.random((num_users, 3)))
            taken_U = is_open_U & (chosen_U != ABSENT) & ~has_UI[np.arange(num_users), chosen_U]
            bought_UT[taken_U, step] = chosen_U[taken_U]
            has_UI[taken_U, chosen_U[taken_U]] = True
            is_open_U = is_open_U & ~taken_U
        for user in np.flatnonzero(is_open_U):  # the few who drew only what they have
            left_I = latents.popularity_I * ~has_UI[user] * (is_late_U[user] | ~latents.is_arrival_I)
            bought_UT[user, step] = random.choice(num_items, p=left_I / left_I.sum())
            has_UI[user, bought_UT[user, step]] = True
    offsets = np.concatenate([[0], np.cumsum(length_U)]).astype(np.int64)
    return Histories(bought_UT[bought_UT != ABSENT].astype(np.int32), offsets)


@dataclass(frozen=True)
class _Shop:
    """The four mechanisms: from the last items of each user to the next."""

    followers_IM: np.ndarray
    bounds: np.ndarray
    """Where behavior, text and look end on [0, 1); chance takes the rest."""
    style: _Shelf
    look: _Shelf
    anything: _Shelf

    @classmethod
    def of(cls, latents: Latents, weights: tuple[float, float, float]) -> _Shop:
        total = sum(weights)
        shares = np.array(weights) * ((1 - _CHANCE_RATIO) / total if total else 0.0)
        return cls(
            latents.followers_IM,
            np.cumsum(shares),
            style=_Shelf.of(latents.style_I, latents.popularity_I**_FLATNESS, latents.is_arrival_I),
            look=_Shelf.of(latents.look_I, latents.popularity_I**_FLATNESS, latents.is_arrival_I),
            anything=_Shelf.of(np.zeros_like(latents.style_I), latents.popularity_I, latents.is_arrival_I),
        )

    def choose(self, recent_UT: np.ndarray, is_late_U: np.ndarray, uniform_U3: np.ndarray) -> np.ndarray:
        """One item for each user, ABSENT where the mechanism has none.

        Args:
            recent_UT: the last up to two items, oldest first.
            is_late_U: whether new arrivals are on sale for this user.
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
class _Shelf:
    """Draws an item of the same group as a given one, by weight."""

    group_I: np.ndarray
    items: np.ndarray
    """All items, group by group."""
    starts: np.ndarray
    """Where each group starts in ``items``, and the end."""
    early: np.ndarray
    """Weights summed up along ``items``, new arrivals left out, starting with 0."""
    late: np.ndarray
    """The same with new arrivals."""

    @classmethod
    def of(cls, group_I: np.ndarray, weight_I: np.ndarray, is_arrival_I: np.ndarray) -> _Shelf:
        items = np.argsort(group_I, kind="stable")
        starts = np.searchsorted(group_I[items], np.arange(group_I.max() + 2))
        late = np.concatenate([[0.0], np.cumsum(weight_I[items])])
        early = np.concatenate([[0.0], np.cumsum((weight_I * ~is_arrival_I)[items])])
        return cls(group_I, items, starts, early, late)

    def draw(self, anchor_U: np.ndarray, is_late_U: np.ndarray, uniform_U: np.ndarray) -> np.ndarray:
        """One item for each anchor; ABSENT where its group has nothing on sale."""
        group_U = self.group_I[anchor_U]
        start_U, end_U = self.starts[group_U], self.starts[group_U + 1]
        drawn = []
        for summed in (self.early, self.late):
            low_U, high_U = summed[start_U], summed[end_U]
            place_U = np.searchsorted(summed, low_U + uniform_U * (high_U - low_U), side="right") - 1
            place_U = np.clip(place_U, start_U, end_U - 1)  # rounding may step over the group's edge
            drawn.append(np.where(high_U > low_U, self.items[place_U], ABSENT))
        return np.where(is_late_U, drawn[1], drawn[0])
