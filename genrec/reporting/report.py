"""What a run found: a row for each method, tests between them, and under which rules; and the files that keep it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from genrec.errors import DataError, PluginError, RecipeError
from genrec.evaluation.metrics import METRICS, best_ranks, target_ranks
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.rank_file import RankFile
from genrec.evaluation.significance import Difference, bootstrap_interval, holm, paired_difference
from genrec.reporting.curves import curves_svg
from genrec.reporting.report_markdown import markdown
from genrec.reporting.report_terminal import print_tables
from genrec.runtime.seeds import derive
from genrec.training.log import EpochRecord
from genrec.types import ABSENT, Dataset, Ranking, Split

MethodKind = Literal["merge", "pair", "stream", "baseline", "oracle"]
"""``pair``: the merge of two of three or more streams of the same model. ``oracle`` is no method: it knows which stream
is best for each user."""

LEVEL = 0.05
"""Corrected p-values from here on are called "not significantly different"."""


@dataclass(frozen=True)
class Estimate:
    """A mean over users and its bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class MethodResult:
    """One method in the table."""

    name: str
    kind: MethodKind
    metrics: Mapping[str, Mapping[int, Estimate]]
    """By the metric's name (see :mod:`genrec.evaluation.metrics`) and cutoff."""
    ranks_U: np.ndarray
    """Place of each user's target, int32 (U,), ABSENT where it was not found."""


@dataclass(frozen=True)
class PairedTest:
    """One method against another over the same users."""

    method: str
    other: str
    metric: str
    cutoff: int
    difference: Difference
    p_holm: float
    """``difference.p`` corrected for all the tests of the report."""

    @property
    def verdict(self) -> Literal["better", "worse", "not significantly different"]:
        """What may be said of ``method``."""
        if self.p_holm >= LEVEL:
            return "not significantly different"
        return "better" if METRICS.get(self.metric).merit(self.difference.mean) > 0 else "worse"


@dataclass(frozen=True)
class Protocol:
    """The rules under which the numbers were obtained, printed with every table."""

    dataset: str
    users: int
    """Users asked."""
    items: int
    """Items ranked, the whole catalog."""
    seen_targets: float
    """Share of users whose target is already in their history."""
    seen_items: Literal["keep", "filter"]
    order: str
    """In which order the items of a history stand."""
    selection: str
    """How the checkpoint was chosen."""
    seed: int
    cutoffs: tuple[int, ...]
    confidence: float
    bootstrap_samples: int
    final_fit: str = "train only"
    """What the model that was asked was fitted on."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        settings: EvaluationSettings,
        seed: int,
        *,
        selection: str,
        final_fit: str = "train only",
        split: Split | None = None,
    ) -> Protocol:
        """The protocol of a dataset's split, by default its test split."""
        asked = dataset.test if split is None else split
        return cls(
            dataset=dataset.name,
            users=len(asked),
            items=dataset.num_items,
            seen_targets=_seen_targets(asked),
            seen_items=settings.seen_items,
            order=dataset.order,
            selection=selection,
            seed=seed,
            cutoffs=tuple(sorted(set(settings.cutoffs))),
            confidence=settings.confidence,
            bootstrap_samples=settings.bootstrap_samples,
            final_fit=final_fit,
        )


@dataclass(frozen=True)
class Report:
    """All that a finished run has to say."""

    title: str
    protocol: Protocol
    split: Split
    """The questions that were asked."""
    rows: Sequence[MethodResult]
    tests: Sequence[PairedTest] = ()
    curve: Sequence[EpochRecord] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall clock of each stage, in the order in which they ran; a stage taken from the store took next to none."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Trainable numbers of each part of the model."""
    notes: Sequence[str] = ()
    """What a reader must know: random weights, items without an image, remarks of the dataset."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, in the order of the columns."""
        return tuple(self.rows[0].metrics) if self.rows else ()

    def write(self, folder: Path) -> None:
        """Write ``report.md``, ``metrics.json``, ``ranks.safetensors`` and, with a curve, ``curves.svg``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(markdown(self), encoding="utf-8")
        (folder / "metrics.json").write_text(
            json.dumps(finite(self.to_dict()), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
        ranks = {row.name: row.ranks_U for row in self.rows}
        RankFile(self.split.users, self.split.targets, ranks, max(self.protocol.cutoffs)).write(folder)
        if self.curve:
            (folder / "curves.svg").write_text(curves_svg(self.curve), encoding="utf-8")

    def print_report(self, console: Console) -> None:
        """Show the table, the protocol and the tests on a terminal."""
        print_tables(self, console)

    def to_dict(self) -> dict[str, Any]:
        """The content of ``metrics.json``: plain data, all numbers unrounded."""
        return {
            "title": self.title,
            "protocol": asdict(self.protocol),
            "methods": [
                {
                    "name": row.name,
                    "kind": row.kind,
                    **{
                        metric: {str(cutoff): asdict(estimate) for cutoff, estimate in by_cutoff.items()}
                        for metric, by_cutoff in row.metrics.items()
                    },
                }
                for row in self.rows
            ],
            "tests": [
                {
                    "method": test.method,
                    "other": test.other,
                    "metric": test.metric,
                    "cutoff": test.cutoff,
                    **asdict(test.difference),
                    "p_holm": test.p_holm,
                    "verdict": test.verdict,
                }
                for test in self.tests
            ],
            "curve": [epoch_dict(epoch) for epoch in self.curve],
            "stage_seconds": dict(self.stage_seconds),
            "parameters": dict(self.parameters),
            "notes": list(self.notes),
        }


def read_metrics(folder: Path) -> dict[str, Any]:
    """The ``metrics.json`` of a finished run, as :meth:`Report.to_dict` made it.

    Raises:
        DataError: the folder holds no finished run, or the file is damaged.
    """
    file = folder / "metrics.json"
    if not file.is_file():
        raise DataError(f"{file} is missing: expected the folder of a finished run; run the recipe to its end first")
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON ({error}): run the recipe again") from error
    if not isinstance(metrics, dict) or "methods" not in metrics:
        raise DataError(f"{file} holds no methods: expected what a run of genrec writes; run the recipe again")
    return metrics


def evaluate(
    rankings: Mapping[str, tuple[MethodKind, Ranking]], split: Split, settings: EvaluationSettings, seed: int
) -> list[MethodResult]:
    """Measure every method, and the oracle where there are two streams or more.

    Args:
        rankings: by method: what it is, and its lists, at least as long as the largest cutoff.
        split: the questions, in the order of the lists.
        settings: metrics, cutoffs, seen items, bootstrap.
        seed: of the recipe.

    Returns:
        Rows in the order given, the oracle behind the last stream.

    Raises:
        DataError: nobody is asked.
        PluginError: a method gave lists for other users, too short ones, or seen items that it was to leave out.
        RecipeError: a method is called ``oracle``.
    """
    if len(split) == 0:
        raise DataError("no user has three items or more, so nobody can be asked; expected a larger dataset")
    for name, (kind, ranking) in rankings.items():
        _check(f"{kind} {name!r}", ranking, split, settings)
    rows = [
        _row(name, kind, target_ranks(ranking, split.targets), settings, seed)
        for name, (kind, ranking) in rankings.items()
    ]
    streams = [place for place, row in enumerate(rows) if row.kind == "stream"]
    if len(streams) > 1:
        if "oracle" in rankings:
            raise RecipeError("'oracle' is the report's row for the best stream of each user; rename that method")
        best_U = best_ranks(np.stack([rows[place].ranks_U for place in streams]))
        rows.insert(streams[-1] + 1, _row("oracle", "oracle", best_U, settings, seed))
    return rows


def paired_tests(rows: Sequence[MethodResult], settings: EvaluationSettings, seed: int) -> list[PairedTest]:
    """The merge against every other method in every metric, at 10 (or the middle cutoff), Holm-corrected together.

    The oracle is left out: it is no method. Without a merge among the rows there are no tests.
    """
    merge = next((row for row in rows if row.kind == "merge"), None)
    if merge is None:
        return []
    cutoffs = sorted(set(settings.cutoffs))
    cutoff = 10 if 10 in cutoffs else cutoffs[len(cutoffs) // 2]
    found = [
        (
            other.name,
            metric,
            paired_difference(
                METRICS.get(metric)(merge.ranks_U, cutoff),
                METRICS.get(metric)(other.ranks_U, cutoff),
                confidence=settings.confidence,
                seed=derive(seed, "paired test", other.name, metric),
            ),
        )
        for other in rows
        if other is not merge and other.kind != "oracle"
        for metric in settings.metrics
    ]
    corrected = holm([difference.p for _, _, difference in found])
    return [
        PairedTest(merge.name, other, metric, cutoff, difference, p)
        for (other, metric, difference), p in zip(found, corrected, strict=True)
    ]


def _row(name: str, kind: MethodKind, ranks_U: np.ndarray, settings: EvaluationSettings, seed: int) -> MethodResult:
    def estimate(metric: str, cutoff: int) -> Estimate:
        values_U = METRICS.get(metric)(ranks_U, cutoff)
        low, high = bootstrap_interval(
            values_U,
            samples=settings.bootstrap_samples,
            confidence=settings.confidence,
            seed=derive(seed, "bootstrap", name, metric, cutoff),
        )
        return Estimate(float(values_U.mean()), low, high)

    cutoffs = sorted(set(settings.cutoffs))
    return MethodResult(
        name, kind, {metric: {k: estimate(metric, k) for k in cutoffs} for metric in settings.metrics}, ranks_U
    )


def _check(what: str, ranking: Ranking, split: Split, settings: EvaluationSettings) -> None:
    num_lists, length = ranking.items_BN.shape
    if num_lists != len(split):
        raise PluginError(f"{what} gave {num_lists} lists for {len(split)} users; expected one for each user, in order")
    if length < max(settings.cutoffs):
        raise PluginError(
            f"{what} gave lists of {length} items; expected {max(settings.cutoffs)}, the largest cutoff, "
            "padded with -1 where it finds no more"
        )
    if settings.seen_items == "filter":
        base = max(int(ranking.items_BN.max(initial=0)), int(split.histories.items.max(initial=0))) + 1
        listed = _cells(np.arange(num_lists)[:, None], ranking.items_BN, base)[ranking.items_BN != ABSENT]
        seen = _cells(np.repeat(np.arange(len(split)), split.histories.lengths), split.histories.items, base)
        wrong = listed[np.isin(listed, seen)]
        if len(wrong):
            user, item = divmod(int(wrong[0]), base)
            raise PluginError(
                f"{what} recommends item {item} to asked user {user}, who has it in the history, and so in "
                f"{len(wrong)} places; expected none under 'seen_items: filter'"
            )


def _cells(user: np.ndarray, item: np.ndarray, base: int) -> np.ndarray:
    return user.astype(np.int64) * base + item


def _seen_targets(split: Split) -> float:
    """Share of users whose target is in their history."""
    if len(split) == 0:
        return 0.0
    user = np.repeat(np.arange(len(split)), split.histories.lengths)
    hit = split.histories.items == split.targets[user]
    return float(np.count_nonzero(np.bincount(user[hit], minlength=len(split))) / len(split))


def epoch_dict(epoch: EpochRecord) -> dict[str, Any]:
    """An epoch of the training curve in ``metrics.json`` and ``comparison.json``."""
    return {name: value for name, value in asdict(epoch).items() if name != "samples_per_second"}


def finite(value: Any) -> Any:
    """The same data with null where JSON has no number for it (a loss that diverged)."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value
