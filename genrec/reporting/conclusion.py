"""The first sentences of a report: which method is better, as far as the Holm-corrected tests support it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from genrec.evaluation.metrics import METRICS, column_name, main_cutoff, main_metric
from genrec.evaluation.significance import NOT_SIGNIFICANT, Verdict
from genrec.reporting.report import PairedTest, Report
from genrec.reporting.texts import count_text, interval_text, listed, named, named_p_text

if TYPE_CHECKING:
    from genrec.comparison.results import Comparison, ControlKind, Pair

_MERGE, _NO_VARIANT = "the merge", "no variant"
_MOST_NAMED = 3
"""Methods that one sentence names; more are counted."""


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on one method against all others in one metric."""

    better: Sequence[str]
    """Names of the methods that it is better than."""
    same: Sequence[str]
    """Names of the methods that it is not significantly different from."""
    worse: Sequence[str]
    """Names of the methods that it is worse than."""
    scope: str
    """What the others are, in the singular: ``stream or baseline``."""

    def predicate(self) -> str:
        """``beats every stream and baseline``; ``is worse than a, not significantly different from b and ...``."""
        num_others = len(self.better) + len(self.same) + len(self.worse)
        every = f"every {self.scope.replace(' or ', ' and ')}"
        if len(self.better) == num_others:
            return f"beats {self.better[0] if num_others == 1 else every}"
        if len(self.same) == num_others > 1:
            return f"is {NOT_SIGNIFICANT} from any {self.scope}"
        if len(self.worse) == num_others > 1:
            return f"is worse than {every}"
        parts = []
        if self.worse:
            parts.append(f"worse than {_names(self.worse)}")
        if self.same:
            parts.append(f"{NOT_SIGNIFICANT} from {_names(self.same)}")
        if self.better:
            parts.append(f"better than {self.better[0] if len(self.better) == 1 else f'the other {len(self.better)}'}")
        return f"is {listed(parts)}"


@dataclass(frozen=True)
class _Clause:
    """What is true of a method in one metric."""

    subject: str
    predicate: str
    column: str


def run_conclusion(report: Report) -> str:
    """The result of a run in one sentence.

    The merge is compared with every stream, pair of streams and baseline. Without a merge, and with one user, there is
    no test, and the sentence claims no difference.
    """
    if report.protocol.users < 2:
        return "Only one user was evaluated, so differences between methods cannot be tested."
    if not report.tests:
        return _untested_run(report)
    if len(report.users_U) and all((row.ranks_U < 0).all() for row in report.rows):
        return "No method found a target."
    kinds = {row.name: row.kind for row in report.rows}
    names = _short_names(report)
    clauses = []
    for metric in _main_first(report.metrics):
        tests = [test for test in report.tests if test.metric == metric]
        present = {kinds[test.other] for test in tests}
        scope = listed(
            [
                noun
                for kind, noun in (("stream", "stream"), ("pair", "pair of streams"), ("baseline", "baseline"))
                if kind in present
            ],
            "or",
        )
        verdicts = Verdicts(
            better=_with_verdict(tests, "better", names),
            same=_with_verdict(tests, NOT_SIGNIFICANT, names),
            worse=_with_verdict(tests, "worse", names),
            scope=scope,
        )
        clauses.append(_Clause(_MERGE, verdicts.predicate(), column_name(metric, tests[0].cutoff)))
    return _sentence(clauses)


def comparison_conclusion(comparison: Comparison) -> str:
    """The result of a comparison in one sentence.

    The best variant is compared with every other variant and baseline; a baseline that no variant beats comes first.
    """
    methods = comparison.methods
    if not any(row.kind == "variant" for row in methods):
        return "No variant has a result."
    if comparison.protocol.users < 2:
        return "Only one user was evaluated, so differences between variants cannot be tested."
    if not any(comparison.best_rows(metric, comparison.cutoff) for metric in comparison.metrics):
        return "No method found a target."
    if not comparison.pairs:
        return _untested_comparison(comparison)
    clauses = [_comparison_clause(comparison, metric) for metric in comparison.main_metric_first]
    seed = " (one seed)" if len(comparison.seeds) == 1 else ""
    return f"{_sentence(clauses).removesuffix('.')}{seed}."


def comparison_sentences(comparison: Comparison) -> list[str]:
    """The conclusion of a comparison, one sentence each: the result, the best baseline and each kind of control."""
    sentences = [comparison_conclusion(comparison)]
    if (
        comparison.protocol.users > 1
        and comparison.pairs
        and comparison.best_rows(comparison.metric, comparison.cutoff)
    ):
        sentences += _baseline_sentences(comparison)
        sentences += filter(None, (_control_sentence(comparison, kind) for kind in _CONTROLS))
    return sentences


def _baseline_sentences(comparison: Comparison) -> Iterator[str]:
    """The best variant and the best baseline in the main metric, with their means."""
    baselines = [row.name for row in comparison.methods if row.kind == "baseline"]
    tests = [test for test in comparison.against_best(comparison.metric) if test.second in baselines]
    if tests and any(row.kind == "variant" for row in comparison.methods):
        test = tests[0]
        best, other = (
            f"{comparison.cells[name][comparison.metric][comparison.cutoff].mean:.4f}"
            for name in (test.first, test.second)
        )
        first, second = named(test.first), named(test.second)
        verdict = f"{test.verdict} {'from' if test.verdict == NOT_SIGNIFICANT else 'than'}"
        which = "the baseline" if len(baselines) == 1 else "the best baseline,"
        yield (
            f"With {_column(comparison)} {best}, {first} is {verdict} {which} {second} ({other}, "
            f"{named_p_text('Holm p', test.p_holm)})."
        )


_CONTROLS: Mapping[ControlKind, tuple[str, str, str]] = {
    "random codes": ("random codes", "perform", "are"),
    "repeated stream": ("the same stream repeated", "performs", "is"),
    "concatenated vectors": ("one stream on concatenated vectors", "performs", "is"),
}
"""Kind of control -> what it is in words, and its verbs."""


def _control_sentence(comparison: Comparison, kind: ControlKind) -> str:
    """The best counterpart of the controls of a kind against its control in the main metric; empty without a test."""
    controls = [control for control in comparison.controls if control.kind == kind]
    best = _best_of(comparison, [name for control in controls for name in control.counterparts])
    other = _best_of(comparison, [control.variant for control in controls if best in control.counterparts])
    tests = [
        test
        for pair in comparison.pairs
        for test in (pair, pair.reversed())
        if (test.metric, test.first, test.second) == (comparison.metric, other, best)
    ]
    if not tests:
        return ""
    what, performs, is_ = _CONTROLS[kind]
    described, real, column = f"{what} ({named(other)})", named(best), _column(comparison)
    if tests[0].verdict == "worse":
        return f"{real} is better than {described} in {column}."
    described = f"{described[0].upper()}{described[1:]}"
    if tests[0].verdict == "better":
        return f"{described} {is_} better than {real} in {column}."
    return f"{described} {performs} as well as {real} here: {NOT_SIGNIFICANT} in {column}."


def _best_of(comparison: Comparison, names: Sequence[str]) -> str:
    """The method with the best mean in the main metric; empty if none has a result."""
    merit = METRICS.get(comparison.metric).merit
    means = {
        row.name: comparison.cells[row.name][comparison.metric][comparison.cutoff].mean for row in comparison.methods
    }
    return max((name for name in names if name in means), key=lambda name: merit(means[name]), default="")


def _column(comparison: Comparison) -> str:
    return column_name(comparison.metric, comparison.cutoff)


def _comparison_clause(comparison: Comparison, metric: str) -> _Clause:
    column = column_name(metric, comparison.cutoff)
    variants = [row.name for row in comparison.methods if row.kind == "variant"]
    baselines = [row.name for row in comparison.methods if row.kind == "baseline"]
    tests = comparison.against_best(metric)
    best = tests[0].first
    if len(variants) > 1:
        if unbeaten := _unbeaten(comparison, metric, variants, baselines):
            return _Clause(_NO_VARIANT, f"is better than {listed(map(named, unbeaten), 'or')}", column)
        if not baselines and all(test.verdict == NOT_SIGNIFICANT for test in comparison.pairs if test.metric == metric):
            return _Clause(_NO_VARIANT, "is better than another", column)
    scopes = (["other variant"] if len(variants) > 1 else []) + (["baseline"] if baselines else [])
    verdicts = Verdicts(
        better=[named(test.second) for test in tests if test.verdict == "better"],
        same=[named(test.second) for test in tests if test.verdict == NOT_SIGNIFICANT],
        worse=[named(test.second) for test in tests if test.verdict == "worse"],
        scope=listed(scopes, "or"),
    )
    predicate = verdicts.predicate()
    is_best = all(METRICS.get(metric).merit(test.difference) >= 0 for test in tests)
    if verdicts.same and is_best and len(variants) > 1:
        predicate = f"has the best mean, but {predicate}"
    return _Clause(named(best), predicate + _seeds(tests), column)


def _unbeaten(comparison: Comparison, metric: str, variants: Sequence[str], baselines: Sequence[str]) -> list[str]:
    """The baselines that no variant is significantly better than."""
    beaten = set()
    for pair in comparison.pairs:
        for test in (pair, pair.reversed()):
            if test.metric == metric and test.first in variants and test.verdict == "better":
                beaten.add(test.second)
    return [name for name in baselines if name not in beaten]


def _seeds(tests: Sequence[Pair]) -> str:
    """In how many seeds a significant difference has its sign, if not in all."""
    agreements = [
        (test.seeds_agree, test.seeds_shared)
        for test in tests
        if test.verdict != NOT_SIGNIFICANT and test.seeds_agree is not None and test.seeds_agree < test.seeds_shared
    ]
    if not agreements:
        return ""
    agree, shared = min(agreements, key=lambda found: found[0] / found[1])
    least = "at least " * (len(tests) > 1)
    return f" ({least}{agree} of {shared} seeds agree)"


def _untested_run(report: Report) -> str:
    methods = [row for row in report.rows if row.kind != "oracle"]
    if not methods:
        return "No method was evaluated."
    metric, cutoff = main_metric(report.metrics), main_cutoff(report.protocol.cutoffs)
    measure = METRICS.get(metric)
    best = max(methods, key=lambda row: measure.merit(row.metrics[metric][cutoff].mean))
    estimate = best.metrics[metric][cutoff]
    value = f"{column_name(metric, cutoff)} {estimate.mean:.4f} {interval_text(estimate)}"
    name = _short_names(report)[best.name]
    if len(methods) == 1:
        return f"{name} reaches {value}; there is no other method to compare it with."
    return f"{name} has the best {value}; differences are tested only for merges."


def _untested_comparison(comparison: Comparison) -> str:
    metric, cutoff = comparison.metric, comparison.cutoff
    name = comparison.best_rows(metric, cutoff)[0]
    cell = comparison.cells[name][metric][cutoff]
    value = f"{column_name(metric, cutoff)} {cell.mean:.4f} {interval_text(cell)}"
    if len(comparison.methods) == 1:
        return f"{named(name)} reaches {value}; there is no other method to compare it with."
    return f"{named(name)} has the best {value}; differences were not tested."


def _sentence(clauses: Sequence[_Clause]) -> str:
    """Clauses as one sentence; metrics with the same result share one. Names keep their case."""
    text = "; ".join(_clause_texts(clauses))
    return f"{text[0].upper()}{text[1:]}." if text.startswith((_MERGE, _NO_VARIANT)) else f"{text}."


def _clause_texts(clauses: Sequence[_Clause]) -> Iterator[str]:
    results = [_result(clause) for clause in clauses]
    ordered = sorted(clauses, key=lambda clause: results.index(_result(clause)))
    before = ""
    for (subject, predicate), group in groupby(ordered, key=_result):
        columns = listed(clause.column for clause in group)
        if not before:
            yield f"{subject} {predicate} in {columns}"
        else:
            yield f"in {columns} {'it' if subject == before and subject != _NO_VARIANT else subject} {predicate}"
        before = subject


def _result(clause: _Clause) -> tuple[str, str]:
    return clause.subject, clause.predicate


def _with_verdict(tests: Sequence[PairedTest], verdict: Verdict, names: dict[str, str]) -> list[str]:
    return [names[test.other] for test in tests if test.verdict == verdict]


def _short_names(report: Report) -> dict[str, str]:
    """Names without their kind (``stream: text`` is ``text``) if they stay unique."""
    names = {row.name: row.name.removeprefix(f"{row.kind}: ") for row in report.rows}
    return names if len(set(names.values())) == len(names) else {name: name for name in names}


def _main_first(metrics: Sequence[str]) -> list[str]:
    main = main_metric(metrics)
    return [main, *(metric for metric in metrics if metric != main)]


def _names(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= _MOST_NAMED else count_text(len(names), "other method")
