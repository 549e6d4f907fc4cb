"""Learned merge: weights of each stream's log-probability and rank, fitted on the validation users."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from genrec.errors import DataError
from genrec.families import Merge, merges
from genrec.merges._entropy import relative_entropy
from genrec.merges._exact_scores import exact_log_probs
from genrec.merges._ranking import rank
from genrec.types import ABSENT, Candidates, Ranking

Feature = Literal["log_prob", "found", "log_place", "no_code", "certainty"]
_MOST_CELLS = 12_000_000
"""Features in memory together while fitting: 96 MB. Of more users, some are taken at equal distances."""
_USERS_AT_ONCE = 2048


@merges.register("learned")
class Learned(Merge):
    """Rank by a weighted sum of the streams' features of an item, with weights fitted on validation users.

    The model is the conditional logit, which is logistic regression for "which of this user's candidates": the
    probability that candidate i is the next item is the softmax, over the user's candidates, of b . x_i (McFadden
    1974). Users whose target is not among their candidates teach nothing and are left out. The weights are drawn to
    those of the mean log-probability over the streams, the ranking of ``log_prob_sum``: the fewer users teach, the
    nearer they stay, and without any they are exactly these (0 if ``log_prob`` is not among the features). No part of
    EAGER. Equal scores: lower item number first.
    """

    needs_scores: ClassVar[bool] = True

    features: tuple[Feature, ...] = Field(("log_prob", "found", "log_place", "no_code"), min_length=1)
    """Of each stream: ``log_prob`` the item's log-probability (the mean of the other streams' where it has no code),
    ``found`` whether it stands in the stream's list, ``log_place`` the logarithm of its place there (one behind the
    last if it does not), ``no_code`` whether it has no code, ``certainty`` the log-probability times one less the
    entropy of the list over the logarithm of its length."""
    l2: PositiveFloat = 10.0
    """How strongly weights are drawn to those of ``log_prob_sum``, in users."""
    streams: tuple[str, ...] = ()
    """Streams that the weights belong to, in their order; what ``fit`` writes."""
    weights: dict[str, tuple[float, ...]] = {}
    """By feature a number for each of ``streams``; what ``fit`` writes. Empty: not fitted."""

    @model_validator(mode="after")
    def _weights_are_whole(self) -> Self:
        if len(set(self.features)) != len(self.features):
            raise ValueError("a feature is named twice")
        if not self.weights and not self.streams:
            return self
        if set(self.weights) != set(self.features):
            raise ValueError(f"weights of {', '.join(self.weights) or 'nothing'}, expected {', '.join(self.features)}")
        for name, values in self.weights.items():
            if len(values) != len(self.streams):
                raise ValueError(f"{len(values)} weights of {name} for {len(self.streams)} streams")
        return self

    def streams_used(self) -> tuple[str, ...]:
        """The streams that weights are written for; none before it is fitted."""
        return self.streams

    def fit(self, candidates: Candidates, targets: np.ndarray) -> Learned:
        """This merge with the weights that explain the targets best.

        Args:
            candidates: of B users, every stream's scores among them.
            targets: the item to be found for each, (B,).

        Raises:
            DataError: the candidates were searched without every stream's scores.
        """
        from genrec.merges._conditional_logit import fit_conditional_logit

        num_streams = len(candidates.streams)
        is_target_BC = candidates.items_BC == targets[:, None]
        users = np.flatnonzero(is_target_BC.any(axis=1))
        most = max(1, _MOST_CELLS // max(1, candidates.items_BC.shape[1] * num_streams * len(self.features)))
        if len(users) > most:
            users = users[np.linspace(0, len(users) - 1, most).astype(np.int64)]
        sample = candidates.take(users)
        features_UCSF = self._features(sample)
        prior_SF = np.zeros((num_streams, len(self.features)))
        if "log_prob" in self.features:
            prior_SF[:, self.features.index("log_prob")] = 1.0 / num_streams
        weights_SF = fit_conditional_logit(
            features_UCSF.reshape(*sample.items_BC.shape, prior_SF.size),
            sample.items_BC != ABSENT,
            is_target_BC[users].argmax(axis=1) if len(users) else users,
            prior_SF.reshape(-1),
            self.l2,
        ).reshape(prior_SF.shape)
        weights = {name: tuple(weights_SF[:, number].tolist()) for number, name in enumerate(self.features)}
        return self.model_copy(update={"streams": candidates.streams, "weights": weights})

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        """Rank each user's candidates, at most ``top_n``.

        Raises:
            DataError: it has not been fitted, or to other streams, or the candidates lack scores.
        """
        if not self.weights:
            raise DataError(
                "merge learned: it has no weights; expected a merge that was fitted on validation candidates: "
                "genrec run and genrec compare do so, in Python call fit(candidates, targets) and use what it returns"
            )
        if candidates.streams != self.streams:
            raise DataError(
                f"merge learned: found candidates of the streams {', '.join(candidates.streams)}, expected "
                f"{', '.join(self.streams)}, to which it was fitted: fit it to these"
            )
        weights_SF = np.array([self.weights[name] for name in self.features]).T
        scores_BC = np.empty(candidates.items_BC.shape)
        for start in range(0, len(candidates), _USERS_AT_ONCE):
            rows = np.arange(start, min(start + _USERS_AT_ONCE, len(candidates)))
            scores_BC[rows] = np.einsum("bcsf,sf->bc", self._features(candidates.take(rows)), weights_SF)
        return rank(candidates.items_BC, scores_BC, top_n)

    def _features(self, candidates: Candidates) -> np.ndarray:
        """What is weighed, float64 (B, C, S, F); finite numbers that mean nothing where there is no item."""
        log_probs_BCS = exact_log_probs(candidates, self.type_name)
        has_code_BCS = np.isfinite(log_probs_BCS)
        sums_BC = np.where(has_code_BCS, log_probs_BCS, 0.0).sum(axis=2)
        means_BC = sums_BC / np.maximum(has_code_BCS.sum(axis=2), 1)
        log_probs_BCS = np.where(has_code_BCS, log_probs_BCS, means_BC[:, :, None])
        is_found_BCS = candidates.ranks_BCS != ABSENT
        places_BCS = np.where(is_found_BCS, candidates.ranks_BCS, is_found_BCS.sum(axis=1, keepdims=True)) + 1.0
        made = {
            "log_prob": lambda: log_probs_BCS,
            "found": lambda: is_found_BCS,
            "log_place": lambda: np.log(places_BCS),
            "no_code": lambda: ~has_code_BCS,
            "certainty": lambda: log_probs_BCS * (1.0 - relative_entropy(candidates)[:, None, :]),
        }
        return np.stack([made[name]().astype(np.float64) for name in self.features], axis=3)
