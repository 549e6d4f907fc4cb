"""All stored outcomes as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genrec.errors import DataError
from genrec.reporting.texts import table
from genrec.reproduction.definitions import budgets, datasets, paper_of, studies
from genrec.reproduction.text import markdown, title_of, verdict

_RULES = (
    "Written by `python benchmarks/reproduction.py page` from `results/reproduction/`. Each section is the outcome of "
    "`genrec reproduce STUDY`: the numbers of the paper (Wang et al., KDD 2024, doi:10.1145/3637528.3671775), those "
    "of genrec, and whether the paper's ordering of rows holds. An ordering **holds** if the 95 % interval of the "
    "difference over the same users is above 0, **does not hold** if it is below 0, and is **undecided** if 0 is in "
    "it. Rows are **as good as** each other if the whole interval is within 5 % of the mean. A row that was stopped by "
    "its budget has no verdict. The rank of every user is stored beside each outcome, and "
    "`tests/reproduction/test_stored_outcomes.py` computes every figure from them again."
)
_CONDITIONS = (
    "The weights of Sentence-T5 were not available: `eager_beauty_minilm` has MiniLM as text encoder. Photos of Yelp "
    "were not available: Table 4 runs on MovieLens posters and on the showroom. How the recipes differ from the paper "
    "is in the comment of [eager_beauty](../recipes/eager_beauty.yaml); "
    "[eager_beauty_released](../recipes/eager_beauty_released.yaml) has the settings of the code that the authors "
    "released."
)


def page(outcomes: Sequence[Mapping[str, Any]]) -> str:
    """The page, studies in the order of the paper.

    Args:
        outcomes: as they are stored.

    Raises:
        DataError: one is of the budget ``quick``, which gives no results.
    """
    for outcome in outcomes:
        if outcome["budget"] == "quick":
            raise DataError(
                f"{outcome['study']} on {outcome['dataset']}: found the budget quick, which gives no result"
            )
    order = list(studies())
    ordered = sorted(
        outcomes, key=lambda o: (order.index(o["study"]), list(datasets()).index(o["dataset"]), o["budget"])
    )
    light = next(budget.says for name, budget in budgets().items() if name == "light")
    lines = ["# Reproduction of the EAGER paper", "", _RULES, "", _CONDITIONS, "", f"`--light`: {light}", ""]
    lines += [*_overview(ordered), ""]
    for outcome in ordered:
        lines += [markdown(outcome, level=2)]
    return "\n".join(lines).rstrip() + "\n"


def _overview(outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each study, those without an outcome too."""
    rows = []
    for name, study in studies().items():
        paper = paper_of(name)
        title = f"{paper.source if paper else title_of(name)}: {study.title}"
        own = [outcome for outcome in outcomes if outcome["study"] == name]
        if not own:
            rows.append((title, "-", "-", f"not run: `genrec reproduce {name}`"))
        for outcome in own:
            text = verdict(outcome) if outcome["claims"] else "counts"
            rows.append((title, datasets()[outcome["dataset"]].title, outcome["budget"], text))
    return list(table(("study", "data", "budget", "outcome"), rows))
