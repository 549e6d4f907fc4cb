"""The registry of metrics: a metric is a function with a name, a title and a direction."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from genrec.errors import PluginError
from genrec.evaluation.top_lists import ItemFacts, TopLists
from genrec.registry import Entry, check_unchanged, error_text, load_entry, place_of, plugin_entries, plugin_line
from genrec.types import ABSENT, ItemVectors

MetricKind = Literal["ranks", "hits", "lists", "system"]
"""What a metric is computed from.

``ranks``: ``(ranks_U, cutoff) -> (U,)``. The rank of each user's one target, int32; 0 is the top of the list, ABSENT
stands for a target that is not in it.
``hits``: ``(hits_UK, num_targets_U) -> (U,)``. Whether the item at each of the first K places of a user's list is a
target, bool, and the number of the user's targets, at least 1.
``lists``: ``(lists) -> (U,)``. The first K items of each user, :class:`~genrec.evaluation.top_lists.TopLists`.
``system``: ``(lists) -> float``. The same, and one number for all users."""

Measure: TypeAlias = Callable[..., Any]
"""The function of a metric; its arguments depend on the kind."""

_KINDS = ("ranks", "hits", "lists", "system")
_NOT_IN_FILES = ("name", "kind", "beyond_accuracy")
"""Other keys of a method in ``metrics.json``."""


@dataclass(frozen=True)
class Metric:
    """A metric with a cutoff."""

    name: str
    """In recipes and in files."""
    title: str
    """In tables and sentences, where ``@K`` follows."""
    measure: Measure
    higher_is_better: bool | None = True
    """None: neither a higher nor a lower value is better."""
    kind: MetricKind = "ranks"
    needs_vectors: bool = False
    """Of metrics of lists and systems: whether the items need vectors."""

    @property
    def is_of_targets(self) -> bool:
        """Whether it measures accuracy: how well targets are found."""
        return self.kind in ("ranks", "hits")

    def __call__(self, ranks: np.ndarray, cutoff: int, offsets: np.ndarray | None = None) -> np.ndarray:
        """A metric of accuracy: the value of each user, float64 of the shape of ``ranks`` with users as last axis.

        Args:
            ranks: the ranks of targets, int32 of any shape; 0 is the top of a list, ABSENT for a target that is not in
                it. Targets are the last axis, those of a user side by side.
            cutoff: the K.
            offsets: user u has the targets offsets[u] to offsets[u + 1], at least one, int64 (U + 1,); None: each user
                has one target.

        Raises:
            PluginError: the function returned values of another shape or not finite values, or it is a metric of one
                target and users have several.
        """
        if offsets is None:
            ranks_U = ranks.reshape(-1)
            if self.kind == "ranks":
                return self._checked(self.measure(ranks_U, cutoff), ranks_U.shape, ranks.shape)
            one_U = np.ones(len(ranks_U), dtype=np.int64)
            return self._checked(self.measure(ranks_U[:, None] == np.arange(cutoff), one_U), ranks_U.shape, ranks.shape)
        if self.kind == "ranks":
            raise PluginError(
                f"{place_of(self.measure)}: metric {self.name!r} is one of one target for each user, and users have "
                f"several here; expected kind='hits' where it is registered"
            )
        count_U = np.diff(offsets)
        lists_NT = ranks.reshape(-1, ranks.shape[-1])
        hits_NUK = np.zeros((len(lists_NT), len(count_U), cutoff), dtype=bool)
        found = np.nonzero((lists_NT != ABSENT) & (lists_NT < cutoff))
        hits_NUK[found[0], np.repeat(np.arange(len(count_U)), count_U)[found[1]], lists_NT[found]] = True
        count_M = np.tile(count_U, len(lists_NT))
        result = self.measure(hits_NUK.reshape(-1, cutoff), count_M)
        return self._checked(result, count_M.shape, (*ranks.shape[:-1], len(count_U)))

    def of_lists(self, lists: TopLists) -> np.ndarray:
        """The metric of lists of each user, float64 (U,); that of a system, float64 ().

        Raises:
            PluginError: the function returned values of another shape or not finite values.
        """
        shape = (len(lists),) if self.kind == "lists" else ()
        return self._checked(self.measure(lists), shape, shape)

    def _checked(self, result: Any, expected: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
        values, unit = np.asarray(result, dtype=np.float64), "rank" if self.kind == "ranks" else "user"
        if values.shape != expected:
            wanted = "one number" if self.kind == "system" else f"one value for each {unit}"
            given = f" for {unit}s of shape {expected}" if expected else ""
            raise PluginError(
                f"{place_of(self.measure)}: metric {self.name!r} returned values of shape {values.shape}{given}; "
                f"expected {wanted}"
            )
        if not np.isfinite(values).all():
            wanted = "a number" if self.kind == "system" else f"a number for each {unit}"
            raise PluginError(
                f"{place_of(self.measure)}: metric {self.name!r} returned a value that is not finite; expected {wanted}"
            )
        return values.reshape(shape)

    def merit(self, value: float) -> float:
        """A number that is larger for better values, or for higher ones if none are better: for sorting and signs."""
        return -value if self.higher_is_better is False else value

    def best(self, means: Iterable[float]) -> float:
        """The best of several means; NaN for no means, and if none is better."""
        if self.higher_is_better is None:
            return float("nan")
        return max(means, key=self.merit, default=float("nan"))

    def is_best(self, mean: float, best: float) -> bool:
        """Whether to mark a mean as the best; a gain of 0 is not marked, as no target was found."""
        return mean == best and (mean > 0 or not self.higher_is_better)

    def check(self) -> None:
        """Call the function with four users.

        Raises:
            PluginError: it fails or returns invalid values.
        """
        try:
            if self.is_of_targets:
                self(np.array([ABSENT, 0, 1, 2], dtype=np.int32), 2)
            else:
                self.of_lists(_four_lists())
        except PluginError:
            raise
        except Exception as error:
            place = plugin_line(error) or place_of(self.measure)
            raise PluginError(f"{place}: metric {self.name!r} cannot be computed: {error_text(error)}") from error


def _four_lists() -> TopLists:
    """Lists of two items of three; one is empty, one ends early, and an item has neither vector nor interactions."""
    items_UK = np.array([[0, 1], [2, 0], [1, ABSENT], [ABSENT, ABSENT]])
    vectors = ItemVectors(np.eye(3, 2, dtype=np.float32), np.array([True, True, False]))
    return TopLists(items_UK, items_UK == 1, ItemFacts(np.array([3, 1, 0]), vectors))


class MetricRegistry:
    """All metrics, by name: those of the core, of plugin files and of entry points ``genrec.metrics``."""

    family = "metrics"
    singular = "metric"

    def __init__(self) -> None:
        self._known: dict[str, Metric] = {}

    def register(
        self,
        name: str,
        title: str,
        *,
        kind: MetricKind = "ranks",
        higher_is_better: bool | None = True,
        needs_vectors: bool = False,
    ) -> Callable[[Measure], Measure]:
        """Function decorator: register the function as a metric.

        Args:
            name: in recipes and in files: lower-case letters, digits and _.
            title: in tables and sentences.
            kind: what the function gets and returns: :data:`MetricKind`.
            higher_is_better: whether a method with a higher mean is the better one; None: neither is.
            needs_vectors: whether a metric of lists or of a system reads the vectors of items.

        Raises:
            PluginError: the name is taken or not allowed, or the kind is unknown.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _NOT_IN_FILES:
            raise PluginError(
                f"found the metric name {name!r}, expected a lower-case letter, then letters, digits and _, "
                f"and not {' or '.join(_NOT_IN_FILES)}"
            )
        if kind not in _KINDS:
            raise PluginError(f"metric {name!r}: found the kind {kind!r}, expected {' or '.join(map(repr, _KINDS))}")

        def remember(measure: Measure) -> Measure:
            known = self._known.get(name)
            if known is not None and _place(known.measure) != _place(measure):
                raise PluginError(
                    f"metric {name!r} is registered twice: {_file(known.measure)} and {_file(measure)}; "
                    "rename one of them"
                )
            self._known[name] = Metric(name, title, measure, higher_is_better, kind, needs_vectors)
            return measure

        return remember

    def entries(self) -> list[Entry]:
        """All metrics: core, then plugins, then packages; includes broken plugin files."""
        core = [
            Entry(self.family, name, _summary(metric.measure), "core", _file(metric.measure))
            for name, metric in self._known.items()
            if metric.measure.__module__.startswith("genrec.")
        ]
        return [*core, *plugin_entries(self.family)]

    def names(self) -> list[str]:
        """The names of :meth:`entries` without broken files."""
        return list(dict.fromkeys([*(entry.name for entry in self.entries() if not entry.problem), *self._known]))

    def names_of_targets(self) -> list[str]:
        """The names of metrics of accuracy, and those of plugins that are not loaded yet."""
        return [name for name in self.names() if name not in self._known or self._known[name].is_of_targets]

    def names_of_lists(self) -> list[str]:
        """The names of metrics of lists and of systems, and those of plugins that are not loaded yet."""
        return [name for name in self.names() if name not in self._known or not self._known[name].is_of_targets]

    def get(self, name: str) -> Metric:
        """The metric with a name; imports its plugin if necessary.

        Raises:
            PluginError: unknown name, or a plugin that fails to load.
        """
        return self._known[name] if name in self._known else self.find(name)

    def find(self, name: str) -> Metric:
        """As :meth:`get`, for a name from a recipe: also checks that the name is unique and the function works.

        Raises:
            PluginError: unknown or ambiguous name, a plugin that fails to load, or a function that fails.
        """
        entries = [entry for entry in self.entries() if entry.name == name and not entry.problem]
        if len({(entry.file, entry.target) for entry in entries}) > 1:
            places = " and ".join(str(entry.file or entry.origin) for entry in entries)
            raise PluginError(f"metric {name!r} exists twice: {places}; rename one of them")
        if name not in self._known:
            if not entries:
                raise PluginError(f"unknown metric {name!r}; expected one of {', '.join(self.names())}")
            load_entry(entries[0], lambda _: None)
            if name not in self._known:
                raise PluginError(f"{entries[0].origin}: registers no metric named {name!r}")
        check_unchanged(self._known[name].measure)
        self._known[name].check()
        return self._known[name]


def _place(measure: Measure) -> tuple[str, str]:
    return measure.__module__, getattr(measure, "__qualname__", "")


def _file(measure: Measure) -> Path:
    return Path(inspect.getfile(measure))


def _summary(measure: Measure) -> str:
    return (inspect.getdoc(measure) or "").partition("\n")[0]
