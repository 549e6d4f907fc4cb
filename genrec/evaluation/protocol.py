"""The evaluation protocol: the ``evaluation`` block of a recipe."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError

from genrec.errors import PluginError
from genrec.evaluation.metrics import DEFAULT_BEYOND_ACCURACY, DEFAULT_METRICS, METRICS
from genrec.families import SplitRule, splits
from genrec.runtime.limits import Count, Length


def _known(name: str, names: list[str], *, is_of_targets: bool) -> str:
    """A metric's name, if the metric exists, works and is of the kind of the key."""
    if name not in METRICS.names():
        broken = sorted({entry.problem for entry in METRICS.entries() if entry.problem})
        expected = " or ".join(map(repr, names)) + "".join(f" (a plugin cannot be read: {why})" for why in broken)
        raise PydanticKnownError("literal_error", {"expected": expected})
    try:
        metric = METRICS.find(name)
    except PluginError as error:
        raise ValueError(str(error)) from error
    if metric.is_of_targets != is_of_targets:
        what, key = ("accuracy", "metrics") if metric.is_of_targets else ("lists", "beyond_accuracy")
        raise ValueError(f"found {name!r}, a metric of {what}; expected it under evaluation.{key}")
    return name


def _known_of_targets(name: str) -> str:
    return _known(name, METRICS.names_of_targets(), is_of_targets=True)


def _known_of_lists(name: str) -> str:
    return _known(name, METRICS.names_of_lists(), is_of_targets=False)


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


class _NamesForEditors:
    """Lists the metrics of a key in the JSON Schema, plugins included."""

    def __init__(self, names: Callable[[], list[str]]) -> None:
        self._names = names

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": self._names()}


MetricName = Annotated[str, AfterValidator(_known_of_targets), _NamesForEditors(METRICS.names_of_targets)]
ListMetricName = Annotated[str, AfterValidator(_known_of_lists), _NamesForEditors(METRICS.names_of_lists)]


class EvaluationSettings(BaseModel):
    """Full-catalog ranking of the targets of each user."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    split: SplitRule = Field(default_factory=lambda: splits.get("leave_one_out")())
    """What is trained on, and which items of which users are the targets of validation and test."""
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1), AfterValidator(_each_once)] = DEFAULT_METRICS
    """Reported metrics, in the order of the columns; tests are corrected for these only."""
    beyond_accuracy: Annotated[tuple[ListMetricName, ...], AfterValidator(_each_once)] = DEFAULT_BEYOND_ACCURACY
    """Reported metrics of what is recommended, whether it is a target or not, in a table of their own at the main
    cutoff; their tests are corrected among themselves. None: ``[]``."""
    distances_in: str | None = None
    """For metrics that need item vectors: the stream whose vectors they use. Default: the first stream with vectors."""
    cutoffs: Annotated[tuple[Length, ...], Field(min_length=1)] = (5, 10, 20)
    """Values of K of each metric, as in Recall@K."""
    seen_items: Literal["keep", "filter"] = "keep"
    """Whether items of the user's history may be recommended (keep) or not (filter)."""
    bootstrap_samples: Count = 1000
    """Number of bootstrap resamples of users for the intervals."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Coverage of the intervals."""
    cold_items: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the items of the histories, drawn at random, that is held out from catalog and histories before
    anything is fitted. After training they are added as new items, and the report measures how well they are found by
    users whose last item is one of them; all other results are those of the data without them. Needs ``split:
    leave_one_out``. 0: none."""
