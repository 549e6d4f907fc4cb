"""The first sentence of a report, over a table of situations: it claims what the corrected tests support."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from genrec.comparison.results import Cell, Comparison, ComparisonRow, Control, Pair
from genrec.evaluation.metrics import METRICS, Metric
from genrec.evaluation.significance import Difference
from genrec.reporting.conclusion import comparison_conclusion, comparison_sentences, run_conclusion
from genrec.reporting.next_steps import comparison_steps, run_steps, step_lines
from genrec.reporting.report import Estimate, MethodResult, PairedTest, Protocol, Report
from genrec.types import Histories, Split

PROTOCOL = Protocol("shop", 500, 90, 0.0, "keep", "by time", "best", 1, (5, 10), 0.95, 1000)
SPLIT = Split(np.arange(1), Histories.of([[0, 1]]), np.array([2]))
BETTER, SAME, WORSE = (0.02, 0.001), (0.001, 0.6), (-0.02, 0.001)
"""Difference of the first method of a test, and its corrected p-value."""


def run_report(results, kinds, *, users=500, metrics=("recall", "ndcg"), found=True) -> Report:
    """A run whose merge has the given difference and p-value against each method in each metric."""
    estimates = {metric: {cutoff: Estimate(0.2, 0.1, 0.3) for cutoff in (5, 10)} for metric in metrics}
    ranks_U = np.zeros(3, np.int32) if found else np.full(3, -1, np.int32)
    rows = [MethodResult(name, kind, estimates, ranks_U) for name, kind in kinds.items()]
    tests = [
        PairedTest("merge: confidence", other, metric, 10, Difference(mean, mean, mean, p, p), p)
        for metric, others in results.items()
        for other, (mean, p) in others.items()
    ]
    return Report("Shop", replace(PROTOCOL, users=users), SPLIT.users, SPLIT.targets, rows, tests)


KINDS = {"merge: confidence": "merge", "stream: text": "stream", "stream: behavior": "stream", "transition": "baseline"}
PAIRS = {**KINDS, "pair: behavior + text": "pair"}


def all_of(result, kinds=KINDS):
    return {name: result for name, kind in kinds.items() if kind != "merge"}


@pytest.mark.parametrize(
    ("recall", "ndcg", "kinds", "sentence"),
    [
        (all_of(BETTER), all_of(BETTER), KINDS, "The merge beats every stream and baseline in NDCG@10 and Recall@10."),
        (
            {**all_of(BETTER, PAIRS), "pair: behavior + text": SAME},
            all_of(BETTER, PAIRS),
            PAIRS,
            "The merge beats every stream, pair of streams and baseline in NDCG@10; in Recall@10 it is not "
            "significantly different from behavior + text and better than the other 3.",
        ),
        (
            all_of(SAME),
            all_of(SAME),
            KINDS,
            "The merge is not significantly different from any stream or baseline in NDCG@10 and Recall@10.",
        ),
        (
            {**all_of(BETTER), "transition": WORSE},
            {**all_of(SAME), "transition": WORSE, "stream: text": BETTER},
            KINDS,
            "The merge is worse than transition, not significantly different from behavior and better than text in "
            "NDCG@10; in Recall@10 it is worse than transition and better than the other 2.",
        ),
        (
            all_of(WORSE),
            all_of(BETTER),
            KINDS,
            "The merge beats every stream and baseline in NDCG@10; in Recall@10 it is worse than every stream and "
            "baseline.",
        ),
    ],
)
def test_runs(recall, ndcg, kinds, sentence):
    assert run_conclusion(run_report({"recall": recall, "ndcg": ndcg}, kinds)) == sentence


def test_the_correction_decides_and_not_the_difference():
    large = {**all_of(BETTER), "transition": (0.5, 0.0501)}
    report = run_report({"ndcg": large}, KINDS, metrics=("ndcg",))
    assert run_conclusion(report) == (
        "The merge is not significantly different from transition and better than the other 2 in NDCG@10."
    )


def test_a_lower_value_can_be_the_better_one(monkeypatch):
    metric = Metric("rank", "Rank", lambda ranks_U, cutoff: ranks_U + 0.0, higher_is_better=False)
    monkeypatch.setitem(METRICS._known, "rank", metric)
    report = run_report({"rank": all_of(WORSE)}, KINDS, metrics=("rank",))
    assert run_conclusion(report) == "The merge beats every stream and baseline in Rank@10."


def test_runs_without_a_test_claim_no_difference():
    single = {"stream: text": "stream"}
    assert run_conclusion(run_report({}, single)) == (
        "text reaches NDCG@10 0.2000 [0.1000, 0.3000]; there is no other method to compare it with."
    )
    assert run_conclusion(run_report({}, {**single, "transition": "baseline"})) == (
        "text has the best NDCG@10 0.2000 [0.1000, 0.3000]; differences are tested only for merges."
    )
    assert run_conclusion(run_report({"ndcg": all_of(BETTER)}, KINDS, users=1)) == (
        "Only one user was evaluated, so differences between methods cannot be tested."
    )
    assert run_conclusion(run_report({"ndcg": all_of(SAME)}, KINDS, found=False)) == "No method found a target."


@dataclass
class Situation:
    """A comparison in which the first method named in a pair has the given difference and p-value."""

    means: dict[str, float]
    results: dict[tuple[str, str], tuple[float, float]]
    seeds: tuple[int, ...] = (1, 2, 3)
    agree: dict[tuple[str, str], int] = field(default_factory=dict)
    others: dict[str, "Situation"] = field(default_factory=dict)
    """The same for further metrics; NDCG is the first."""
    users: int = 500
    controls: tuple[Control, ...] = ()

    def comparison(self) -> Comparison:
        by_metric = {"ndcg": self, **self.others}
        rows = [
            ComparisonRow(
                name,
                "baseline" if name in ("transition", "popularity") else "variant",
                {},
                self.seeds,
                np.zeros((len(self.seeds), 2), np.int32),
            )
            for name in self.means
        ]
        cells = {
            name: {metric: {10: Cell(part.means[name], None, 0.1, 0.3)} for metric, part in by_metric.items()}
            for name in self.means
        }
        pairs = [
            Pair(one, two, metric, 10, mean, mean, mean, p, p, p, p, part.agree.get((one, two), 3), 3)
            for metric, part in by_metric.items()
            for (one, two), (mean, p) in part.results.items()
        ]
        return Comparison(
            title="Shop",
            split="validation",
            protocol=replace(PROTOCOL, users=self.users),
            axes={},
            seeds=self.seeds,
            rows=rows,
            metrics=tuple(by_metric),
            cells=cells,
            pairs=pairs,
            letters={metric: {} for metric in by_metric} if pairs else {},
            slices=(),
            cutoff=10,
            stages={},
            seconds=1.0,
            controls=self.controls,
        )


TWO = {"a": 0.3, "b, c": 0.2, "transition": 0.1}
SOME = {("a", "b, c"): BETTER, ("a", "transition"): BETTER, ("b, c", "transition"): BETTER}


@pytest.mark.parametrize(
    ("situation", "sentence"),
    [
        (Situation(TWO, SOME), "a beats every other variant and baseline in NDCG@10."),
        (
            Situation(TWO, {**SOME, ("a", "b, c"): SAME}),
            "a has the best mean, but is not significantly different from 'b, c' and better than transition in "
            "NDCG@10.",
        ),
        (
            Situation({"a": 0.3, "b": 0.2}, {("a", "b"): SAME}),
            "No variant is better than another in NDCG@10.",
        ),
        (Situation({"a": 0.3, "b": 0.2}, {("b", "a"): WORSE}), "a beats b in NDCG@10."),
        (
            Situation(
                {"a": 0.3, "b": 0.2, "transition": 0.4, "popularity": 0.1},
                {
                    ("a", "b"): BETTER,
                    ("a", "transition"): WORSE,
                    ("b", "transition"): WORSE,
                    ("a", "popularity"): BETTER,
                    ("b", "popularity"): BETTER,
                },
            ),
            "No variant is better than transition in NDCG@10.",
        ),
        (
            # The best mean is not enough, and the second variant beats what the first does not.
            Situation(TWO, {("a", "b, c"): SAME, ("a", "transition"): SAME, ("transition", "b, c"): WORSE}),
            "a has the best mean, but is not significantly different from any other variant or baseline in NDCG@10.",
        ),
        (
            Situation({"a": 0.3, "transition": 0.4}, {("transition", "a"): BETTER}),
            "a is worse than transition in NDCG@10.",
        ),
        (
            Situation(TWO, SOME, agree={("a", "b, c"): 2}),
            "a beats every other variant and baseline (at least 2 of 3 seeds agree) in NDCG@10.",
        ),
        (
            Situation(TWO, SOME, seeds=(1,)),
            "a beats every other variant and baseline in NDCG@10 (one seed).",
        ),
        (
            Situation(
                TWO,
                SOME,
                others={
                    "recall": Situation(
                        {"a": 0.2, "b, c": 0.3, "transition": 0.1},
                        {("a", "b, c"): WORSE, ("a", "transition"): BETTER, ("b, c", "transition"): BETTER},
                    )
                },
            ),
            "a beats every other variant and baseline in NDCG@10; in Recall@10 'b, c' beats every other variant and "
            "baseline.",
        ),
        (
            Situation(TWO, SOME, others={"recall": Situation(TWO, SOME)}),
            "a beats every other variant and baseline in NDCG@10 and Recall@10.",
        ),
        (
            Situation(TWO, SOME, users=1),
            "Only one user was evaluated, so differences between variants cannot be tested.",
        ),
        (Situation(dict.fromkeys(TWO, 0.0), dict.fromkeys(SOME, (0.0, 1.0))), "No method found a target."),
        (
            Situation({"a": 0.3}, {}),
            "a reaches NDCG@10 0.3000 [0.1000, 0.3000]; there is no other method to compare it with.",
        ),
        (
            Situation(TWO, {}),
            "a has the best NDCG@10 0.3000 [0.1000, 0.3000]; differences were not tested.",
        ),
        (Situation({"transition": 0.3}, {}), "No variant has a result."),
    ],
)
def test_comparisons(situation, sentence):
    assert comparison_conclusion(situation.comparison()) == sentence


@pytest.mark.parametrize(
    ("situation", "sentence"),
    [
        (
            Situation(TWO, SOME),
            "With NDCG@10 0.3000, a is better than the baseline transition (0.1000, Holm p = 0.001).",
        ),
        (
            Situation(
                {"b, c": 0.2, "transition": 0.3, "popularity": 0.1},
                {("b, c", "transition"): (-0.1, 0.0001), ("b, c", "popularity"): BETTER},
            ),
            "With NDCG@10 0.2000, 'b, c' is worse than the best baseline, transition (0.3000, Holm p < 0.001).",
        ),
        (
            Situation({"a": 0.3, "transition": 0.3}, {("transition", "a"): SAME}),
            "With NDCG@10 0.3000, a is not significantly different from the baseline transition (0.3000, Holm p = "
            "0.600).",
        ),
    ],
)
def test_the_best_variant_and_the_best_baseline(situation, sentence):
    comparison = situation.comparison()
    assert comparison_sentences(comparison) == [comparison_conclusion(comparison), sentence]


@pytest.mark.parametrize(
    "situation",
    [
        Situation(TWO, {}),
        Situation(TWO, SOME, users=1),
        Situation(dict.fromkeys(TWO, 0.0), dict.fromkeys(SOME, (0.0, 1.0))),
        Situation({"a": 0.3, "b": 0.2}, {("a", "b"): BETTER}),
        Situation({"transition": 0.3}, {}),
    ],
)
def test_without_a_tested_baseline_there_is_one_sentence(situation):
    comparison = replace(situation.comparison(), controls=(Control("random codes", "a", ("left out",)),))
    assert comparison_sentences(comparison) == [comparison_conclusion(comparison)]


RANDOM, REPEATED, JOINED = "random codes", "repeated stream", "concatenated vectors"


@pytest.mark.parametrize(
    ("kind", "result", "sentence"),
    [
        (RANDOM, SAME, "Random codes (control) perform as well as real here: not significantly different in NDCG@10."),
        (RANDOM, BETTER, "Random codes (control) are better than real in NDCG@10."),
        (RANDOM, WORSE, "real is better than random codes (control) in NDCG@10."),
        (
            REPEATED,
            SAME,
            "The same stream repeated (control) performs as well as real here: not significantly different in NDCG@10.",
        ),
        (REPEATED, BETTER, "The same stream repeated (control) is better than real in NDCG@10."),
        (
            JOINED,
            SAME,
            "One stream on concatenated vectors (control) performs as well as real here: not significantly different "
            "in NDCG@10.",
        ),
        (JOINED, WORSE, "real is better than one stream on concatenated vectors (control) in NDCG@10."),
    ],
)
@pytest.mark.parametrize("is_reversed", [False, True])
def test_controls(kind, result, sentence, is_reversed):
    mean, p = result
    pair = {("real", "control"): (-mean, p)} if is_reversed else {("control", "real"): result}
    # The best counterpart is compared with its own control, the best one.
    others = {("other control", "real"): WORSE, ("third control", "real"): BETTER}
    situation = Situation(
        {"real": 0.3, "control": 0.3, "third control": 0.4, "other control": 0.1, "other real": 0.1},
        pair | others,
        controls=(
            Control(kind, "other control", ("other real", "real")),
            Control(kind, "third control", ("other real",)),
            Control(kind, "control", ("real",)),
        ),
    )
    assert comparison_sentences(situation.comparison())[1:] == [sentence]


def test_a_control_without_a_result_is_left_out():
    controls = (Control(RANDOM, "failed", ("a",)), Control(JOINED, "a", ("b, c",)))
    situation = Situation(TWO, SOME, controls=controls)
    assert comparison_sentences(situation.comparison())[2:] == [
        "One stream on concatenated vectors (a) is better than 'b, c' in NDCG@10."
    ]


def test_many_methods_are_counted():
    names = [f"v{number}" for number in range(9)]
    results = {("v0", name): SAME if number < 8 else BETTER for number, name in enumerate(names[1:], start=1)}
    results |= {("v1", "v8"): BETTER}
    situation = Situation({name: 0.5 - 0.01 * number for number, name in enumerate(names)}, results)
    assert comparison_conclusion(situation.comparison()) == (
        "v0 has the best mean, but is not significantly different from 7 other methods and better than v8 in NDCG@10."
    )


def test_steps_have_the_folder_in_quotes_where_needed():
    folder = Path("runs/my run")
    lines = list(step_lines(run_steps(folder, history=("it's",), has_merge=True)))
    assert lines[1] == "genrec recommend 'runs/my run' --history 'it'\"'\"'s'"
    assert lines[3] == "genrec serve 'runs/my run'"
    assert lines[5].startswith("genrec compare 'runs/my run' --vary merge=")
    assert lines[7] == "genrec compare 'runs/my run/recipe.yaml' --seeds 1,2,3"
    assert lines[9] == "genrec bench 'runs/my run'"
    assert all(line.startswith("# ") for line in lines[::2])
    with_data = run_steps(folder, history=(), has_merge=True, data=Path("my data"))
    assert [step.command.endswith(" --data 'my data'") for step in with_data] == [False, True, True, True, True]
    alone = list(step_lines(run_steps(folder, history=(), has_merge=False)))
    assert alone[1].endswith("--history KEY_OR_TITLE")
    assert not any("--vary" in line for line in alone)
    steps = comparison_steps(folder, command="genrec run a.yaml --seed 1", is_validation=True)
    assert [step.command for step in steps] == [
        "python -m webbrowser -t 'runs/my run/comparison.html'",
        "genrec run a.yaml --seed 1",
        "",
    ]
    assert len(comparison_steps(folder, command="", is_validation=False)) == 1
