"""Estimated durations of planned stages, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from genrec.comparison.plan import PlannedStage
from genrec.reporting.texts import count_text

_SHARED = ("vectors", "ids")
"""Stages that run one after the other, before the models."""
_ADVICE = "--measure times a few steps of each"


def estimate(stages: Sequence[PlannedStage]) -> str:
    """The duration of some unfinished stages one after the other; ``unknown`` if one has no estimate."""
    known = [stage.seconds for stage in stages if stage.seconds is not None]
    return _duration(sum(known)) if len(known) == len(stages) else "unknown"


def total_estimate(planned: Sequence[PlannedStage], jobs: int) -> Iterator[str]:
    """The duration of a comparison, and where measured durations come from, a line each.

    Args:
        planned: all stages.
        jobs: number of models trained in parallel.
    """
    left = [stage for stage in planned if not stage.finished]
    known = [stage for stage in left if stage.seconds is not None]
    seconds = sum((stage.seconds or 0.0) / (1 if stage.stage.kind in _SHARED else jobs) for stage in known)
    unknown = len(left) - len(known)
    rest = "seconds to minutes for merges, other baselines and tests"
    total = f"{'' if seconds < 1 else 'about '}{_duration(seconds)} with {jobs} at a time"
    if not left:
        yield f"nothing to train: {rest}"
    elif not known:
        yield f"unknown: {count_text(unknown, 'stage')} without an estimate; {_ADVICE}"
    elif unknown:
        yield f"{total}, plus {count_text(unknown, 'stage')} of unknown duration; {_ADVICE}"
    else:
        yield f"{total}, plus {rest}"
    for stage in {(stage.like, stage.basis): stage for stage in left if stage.basis}.values():
        yield f"measured: {stage.stage.kind} of {', '.join(stage.like)}: {stage.basis}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "less than 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
