"""The last lines of a report: the commands for the next steps, ready to copy."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """A command and what it is for."""

    purpose: str
    command: str = ""
    """Empty where the purpose says it all."""


def run_steps(folder: Path, *, history: Sequence[str], has_merge: bool, data: Path | None = None) -> list[Step]:
    """What to do after a run.

    Args:
        folder: of the run.
        history: keys of some items, oldest first, for an example of ``recommend``.
        has_merge: whether the run merges two streams or more.
        data: the data folder of the run, for the commands that read the dataset.
    """
    option = "" if data is None else f" --data {shlex.quote(str(data))}"
    run = shlex.quote(str(folder))
    items = " ".join(f"--history {shlex.quote(key)}" for key in history) or "--history KEY_OR_TITLE"
    steps = [
        Step("Recommend items after a history", f"genrec recommend {run} {items}"),
        Step("Try it on a web page (pip install 'genrec[serve]')", f"genrec serve {run}{option}"),
    ]
    if has_merge:
        merges = "confidence,log_prob_sum,reciprocal_rank"
        steps.append(Step("Compare merges without training", f"genrec compare {run} --vary merge={merges}{option}"))
    recipe = shlex.quote(str(folder / "recipe.yaml"))
    return [
        *steps,
        Step("Train with three seeds", f"genrec compare {recipe} --seeds 1,2,3{option}"),
        Step("Measure latency and throughput", f"genrec bench {run}{option}"),
    ]


def comparison_steps(folder: Path, *, command: str, is_validation: bool) -> list[Step]:
    """What to do after a comparison.

    Args:
        folder: of the comparison.
        command: runs the best variant alone; empty if no variant has a result.
        is_validation: whether the comparison is on validation users.
    """
    steps = [Step("Open the page", f"python -m webbrowser -t {shlex.quote(str(folder / 'comparison.html'))}")]
    if command:
        steps.append(Step("Run the best variant alone", command))
    if is_validation:
        steps.append(Step("Evaluate on the test split (once, at the end): repeat this comparison with --test"))
    return steps


def step_lines(steps: Iterable[Step]) -> Iterator[str]:
    """Each command below a comment with its purpose."""
    for purpose, command in steps:
        yield f"# {purpose}"
        if command:
            yield command
