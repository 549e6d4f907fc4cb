"""The studies, datasets and budgets of ``genrec reproduce``, read from ``studies.yaml`` and ``paper.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from genrec.errors import RecipeError
from genrec.recipe.problems import did_you_mean, one_of
from genrec.recipe.source import read

FOLDER = Path(__file__).parent
CLAIM_METRICS = ("recall@10", "ndcg@10")
SIMILAR = 0.05
"""Largest relative difference of means that is called similar."""

Column = str
"""``recall@10``, or the name of a statistic."""


class Data(BaseModel):
    """Read from a file; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetOf(Data):
    """A dataset that studies run on."""

    title: str
    recipe: str
    """Name of its EAGER recipe."""
    streams: str
    """The two streams of the paper, as a value of the axis ``streams``."""


class Budget(Data):
    """Changes of all recipes."""

    says: str
    """What it is, for reports."""
    overrides: Annotated[tuple[str, ...], Field(alias="set")] = ()
    """Applied where a recipe has the key."""
    max_epochs: int | None = None
    """Of trained baselines; None: their own."""
    encoders: Mapping[str, Mapping[str, Any]] = {}
    """Item encoder -> what replaces it."""


class Row(Data):
    """A line of a table."""

    label: str
    streams: str | None = None
    """A value of the axis ``streams``; None: the two streams of the dataset."""
    tasks: tuple[str, ...] | None = None
    """Kinds of tasks that stay; None: all."""
    overrides: Annotated[tuple[str, ...], Field(alias="set")] = ()
    after: tuple[str, ...] = ()
    """Overrides that follow the choice of streams."""
    joined_codes: bool = False
    """Of concatenated streams: their codes one after the other instead of one tree."""
    recipe: str = ""
    """Name of another recipe, with ``{dataset}`` in place of the dataset."""
    baseline: str = ""


class Claim(Data):
    """What the paper says of rows."""

    order: tuple[str, ...] | None = None
    """Best first; each better than the next."""
    best: str = ""
    """Better than every other row that has a number of the paper."""
    similar: tuple[str, ...] = ()
    """Each as good as the first: the means differ by less than ``SIMILAR``."""
    source: str
    metrics: tuple[Column, ...] = CLAIM_METRICS
    datasets: tuple[str, ...] = ()
    """Where it is made; empty: everywhere."""


class PaperOrder(Data):
    """The order of the paper's numbers, metric by metric."""

    order: Literal["paper"]
    source: str


class Expectation(NamedTuple):
    """One comparison of two rows."""

    first: str
    second: str
    column: Column
    kind: Literal["better", "similar"]
    source: str


class Study(Data):
    """A table or figure of the paper."""

    title: str
    kind: Literal["table", "figure", "statistics", "speed"] = "table"
    rows: Mapping[str, Row]
    overrides: Annotated[tuple[str, ...], Field(alias="set")] = ()
    """Of all recipes."""
    claims: tuple[PaperOrder | Claim, ...] = ()
    numbers_of: str = ""
    """The one dataset of the paper's numbers, which are also printed beside those of other datasets."""
    notes: tuple[str, ...] = ()


class Paper(Data):
    """The paper's numbers of one study."""

    model_config = ConfigDict(frozen=True, extra="allow")

    source: str
    columns: tuple[Column, ...]

    def numbers(self, dataset: str) -> dict[str, dict[Column, float | None]]:
        """Row -> column -> number; empty if the paper has none for the dataset."""
        rows: Mapping[str, list[float | None]] = (self.model_extra or {}).get(dataset, {})
        return {row: dict(zip(self.columns, numbers, strict=True)) for row, numbers in rows.items()}


class _File(Data):
    datasets: Mapping[str, DatasetOf]
    budgets: Mapping[str, Budget]
    studies: Mapping[str, Study]


@cache
def _studies_file() -> _File:
    file = FOLDER / "studies.yaml"
    return _File.model_validate(read(file.read_text(encoding="utf-8"), file.name).data)


@cache
def _paper_file() -> dict[str, Paper]:
    file = FOLDER / "paper.yaml"
    tables = read(file.read_text(encoding="utf-8"), file.name).data
    return {name: Paper.model_validate(table) for name, table in tables.items()}


def studies() -> Mapping[str, Study]:
    """All studies by name, in the order of the paper."""
    return _studies_file().studies


def datasets() -> Mapping[str, DatasetOf]:
    """All datasets by name."""
    return _studies_file().datasets


def budgets() -> Mapping[str, Budget]:
    """All budgets by name."""
    return _studies_file().budgets


def find_study(name: str) -> Study:
    """A study by name.

    Raises:
        RecipeError: there is none.
    """
    if name not in studies():
        raise RecipeError(f"{name}: unknown study, expected {one_of(list(studies()))}{did_you_mean(name, studies())}")
    return studies()[name]


def find_dataset(name: str) -> DatasetOf:
    """A dataset by name.

    Raises:
        RecipeError: there is none.
    """
    if name not in datasets():
        expected = f"expected {one_of(list(datasets()))}{did_you_mean(name, datasets())}"
        raise RecipeError(f"--dataset {name}: unknown dataset, {expected}")
    return datasets()[name]


def paper_of(study: str) -> Paper | None:
    """The paper's numbers of a study; None if it prints none."""
    return _paper_file().get(study)


def paper_numbers(study: str, dataset: str) -> dict[str, dict[Column, float | None]]:
    """The numbers that are shown beside those of a dataset, by row and column."""
    paper = paper_of(study)
    return paper.numbers(find_study(study).numbers_of or dataset) if paper else {}


def columns_of(study: str) -> tuple[Column, ...]:
    """The columns of a study's table: the paper's."""
    paper = paper_of(study)
    return paper.columns if paper else CLAIM_METRICS


def expectations(name: str, dataset: str) -> list[Expectation]:
    """Every comparison of two rows about which the paper says something, each once."""
    study = find_study(name)
    numbers = paper_numbers(name, dataset)
    found = {
        expectation: None
        for claim in study.claims
        for expectation in (
            _of_numbers(claim, numbers) if isinstance(claim, PaperOrder) else _of_claim(claim, dataset, numbers)
        )
    }
    return list(found)


def _of_claim(
    claim: Claim, dataset: str, numbers: Mapping[str, Mapping[Column, float | None]]
) -> Iterator[Expectation]:
    if claim.datasets and dataset not in claim.datasets:
        return
    for column in claim.metrics:
        for first, second in pairwise(claim.order or ()):
            yield Expectation(first, second, column, "better", claim.source)
        for other in claim.similar[1:]:
            yield Expectation(claim.similar[0], other, column, "similar", claim.source)
        for other in numbers if claim.best else ():
            if other != claim.best:
                yield Expectation(claim.best, other, column, "better", claim.source)


def _of_numbers(claim: PaperOrder, numbers: Mapping[str, Mapping[Column, float | None]]) -> Iterator[Expectation]:
    """Each row against the rows of the next lower number; rows with equal numbers are not compared."""
    for column in CLAIM_METRICS:
        by_number: dict[float, list[str]] = {}
        for row, by_column in numbers.items():
            if (number := by_column.get(column)) is not None:
                by_number.setdefault(number, []).append(row)
        for higher, lower in pairwise(sorted(by_number, reverse=True)):
            for first, second in product(by_number[higher], by_number[lower]):
                yield Expectation(first, second, column, "better", claim.source)
