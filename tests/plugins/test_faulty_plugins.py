"""A faulty plugin ends a command in one line with file and line; it is never reported as a bug of genrec."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_plugins import CONTRACT, DECODER, HEAD, run, write

from genrec.cli import main

pytestmark = pytest.mark.slow

MERGE = """
@merges.register("faulty")  # class
class Faulty(Merge):
    "A merge."

    def merge(self, candidates, *, top_n):
        ranking = Ranking.top(candidates.items_BC, np.fmax.reduce(candidates.log_probs_BCS, axis=2), top_n)
        {body}  # body
"""


@pytest.mark.parametrize(
    ("body", "place", "text"),
    [
        ("return rankin", "body", "the merge 'faulty' raised NameError: name 'rankin' is not defined"),
        ("import sys; sys.exit(3)", "body", "the plugin raised SystemExit: 3"),
        ("raise KeyError", "body", "the merge 'faulty' raised KeyError"),
        (
            "return Ranking(ranking.items_BN, ranking.scores_BN[:, 1:])",
            "body",
            "the merge 'faulty' raised ValueError: ranking: items (120, 10) and scores (120, 9) must agree",
        ),
        ("return None", "class", f"the merge 'faulty' {CONTRACT} the result is a Ranking; found NoneType"),
        (
            "return Ranking(ranking.items_BN[::-1].copy(), ranking.scores_BN[::-1].copy())",
            "class",
            f"the merge 'faulty' {CONTRACT} users are ranked independently",
        ),
        (
            "return Ranking(np.where(ranking.items_BN < 0, -1, ranking.items_BN + 60), ranking.scores_BN)",
            "class",
            f"the merge 'faulty' {CONTRACT} a merge ranks only candidates; found item ",
        ),
        (
            "return Ranking(ranking.items_BN[:50], ranking.scores_BN[:50])",
            "class",
            f"the merge 'faulty' {CONTRACT} a ranking has a row for each user and top_n columns; "
            "found (50, 10) for 120 users and top_n 10",
        ),
        (
            "return Ranking(ranking.items_BN, -ranking.scores_BN)",
            "class",
            f"the merge 'faulty' {CONTRACT} scores do not increase along a row",
        ),
        (
            "return Ranking(np.repeat(ranking.items_BN[:, :1], top_n, axis=1), ranking.scores_BN)",
            "class",
            f"the merge 'faulty' {CONTRACT} no item occurs twice in a row; found item ",
        ),
    ],
)
def test_merge(folder: Path, capsys: pytest.CaptureFixture[str], body: str, place: str, text: str) -> None:
    lines = write(folder, MERGE.format(body=body))
    assert run(capsys, "merge=faulty").startswith(f"plugins/faulty.py:{lines[place]}: {text}")


def test_error_of_the_user_passes_unchanged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, MERGE.format(body="raise DataError('the file of weights is empty')"))
    assert run(capsys, "merge=faulty") == "the file of weights is empty"


def test_interruption_in_a_plugin_is_an_interruption(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, MERGE.format(body="raise KeyboardInterrupt"))
    assert main(["run", "recipe.yaml", "--output", "run", "--device", "cpu", "--set", "merge=faulty"]) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted; ")


ENCODER = """
@item_encoders.register("faulty")  # class
class Faulty(ItemEncoder):
    "An item encoder."

    def encode(self, catalog, train, *, context):
        vectors_IE = np.ones((len(catalog), 4), dtype=np.float32)
        present_I = np.ones(len(catalog), dtype=bool)
        {body}
        return ItemVectors(vectors_IE, present_I)  # return
"""


@pytest.mark.parametrize(
    ("body", "place", "text"),
    [
        (
            "vectors_IE = vectors_IE.astype(float)",
            "return",
            "the item encoder 'faulty' raised ValueError: item vectors must be float32 (I, E), got float64 (60, 4)",
        ),
        (
            "vectors_IE[7, 2] = np.nan",
            "return",
            "the item encoder 'faulty' raised ValueError: the vector of item 7 is not finite",
        ),
        (
            "vectors_IE, present_I = vectors_IE[1:], present_I[1:]",
            "class",
            f"the item encoder 'faulty' {CONTRACT} encode() gives one row for every item of the catalog; "
            "found 59 rows for 60 items",
        ),
        (
            "return vectors_IE",
            "class",
            f"the item encoder 'faulty' {CONTRACT} encode() gives ItemVectors; found ndarray",
        ),
    ],
)
def test_item_encoder(folder: Path, capsys: pytest.CaptureFixture[str], body: str, place: str, text: str) -> None:
    lines = write(folder, ENCODER.format(body=body))
    assert run(capsys, "streams.text.item_encoder=faulty") == f"plugins/faulty.py:{lines[place]}: {text}"


TOKENIZER = """
@tokenizers.register("faulty")  # class
class Faulty(Tokenizer):
    "A tokenizer."

    def fit(self, vectors, *, keys, context):
        codes_IL = np.arange(len(keys), dtype=np.int32)[:, None]
        {body}  # body
"""


@pytest.mark.parametrize(
    ("body", "place", "text"),
    [
        (
            "return SemanticIds(codes_IL[:, 0], (len(keys),))",
            "body",
            "the tokenizer 'faulty' raised ValueError: codes must be int32 (I, L), got int32 (60,)",
        ),
        (
            "return SemanticIds(codes_IL // 2, (len(keys),))",
            "body",
            "the tokenizer 'faulty' raised ValueError: two items share one semantic ID",
        ),
        (
            "return SemanticIds(codes_IL, (59,))",
            "body",
            "the tokenizer 'faulty' raised ValueError: a code is outside its level's vocabulary",
        ),
        (
            "return SemanticIds(codes_IL[1:], (len(keys),))",
            "class",
            f"the tokenizer 'faulty' {CONTRACT} fit() gives one row of codes for every item; "
            "found 59 rows for 60 items",
        ),
        ("return codes_IL", "class", f"the tokenizer 'faulty' {CONTRACT} fit() gives SemanticIds; found ndarray"),
    ],
)
def test_tokenizer(folder: Path, capsys: pytest.CaptureFixture[str], body: str, place: str, text: str) -> None:
    lines = write(folder, TOKENIZER.format(body=body))
    assert run(capsys, "streams.text.tokenizer=faulty") == f"plugins/faulty.py:{lines[place]}: {text}"


BASELINE = """
class Fitted(FittedBaseline):
    def rank(self, histories, *, top_n, exclude_seen):
        items_BN = np.tile(np.arange(top_n), (len(histories), 1))
        {body}  # rank

@baselines.register("faulty")  # class
class Faulty(Baseline):
    "A baseline."

    def fit(self, catalog, train, *, context):
        {fit}
"""


@pytest.mark.parametrize(
    ("fit", "body", "place", "text"),
    [
        ("return Fitted()", "return 1 / 0", "rank", "the baseline 'faulty' raised ZeroDivisionError: division by zero"),
        ("return None", "", "class", f"the baseline 'faulty' {CONTRACT} fit() gives a FittedBaseline; found NoneType"),
        (
            "return Fitted()",
            "return Ranking(items_BN + 55, -items_BN.astype(np.float32))",
            "class",
            f"the baseline 'faulty' {CONTRACT} a baseline ranks items of the catalog; found item 60 of 60",
        ),
        (
            "return Fitted()",
            "return Ranking(items_BN, -items_BN.astype(np.float32))",
            "class",
            f"the baseline 'faulty' {CONTRACT} exclude_seen leaves the items of the history out; found ",
        ),
    ],
)
def test_baseline(folder: Path, capsys: pytest.CaptureFixture[str], fit: str, body: str, place: str, text: str) -> None:
    lines = write(folder, BASELINE.format(fit=fit, body=body))
    error = run(capsys, "baselines=[faulty]", "evaluation.seen_items=filter")
    assert error.startswith(f"plugins/faulty.py:{lines[place]}: {text}")


DATASET = """
@datasets.register("faulty")  # class
class Faulty(DatasetSource):
    "A dataset."

    def load(self, data):
        {body}  # body
"""


@pytest.mark.parametrize(
    ("body", "place", "text"),
    [
        ("return 1 / 0", "body", "the dataset 'faulty' raised ZeroDivisionError: division by zero"),
        ("return {}", "class", f"the dataset 'faulty' {CONTRACT} load() gives a Dataset; found dict"),
    ],
)
def test_dataset(folder: Path, capsys: pytest.CaptureFixture[str], body: str, place: str, text: str) -> None:
    lines = write(folder, DATASET.format(body=body))
    assert run(capsys, "dataset=faulty") == f"plugins/faulty.py:{lines[place]}: {text}"


LOGGER = """
class Started(StartedLogger):
    def {hook}(self, *arguments):
        raise RuntimeError("no connection")  # hook

@loggers.register("faulty")  # class
class Faulty(TrainingLogger):
    "A logger."

    def start(self, folder, *, title, hyperparameters, step):
        return {started}
"""


@pytest.mark.parametrize("hook", ["log_step", "log_epoch", "finish"])
def test_logger(folder: Path, capsys: pytest.CaptureFixture[str], hook: str) -> None:
    lines = write(folder, LOGGER.format(hook=hook, started="Started()"))
    error = run(capsys, "training.loggers=[{type: faulty, log_every: 1}]")
    assert error == f"plugins/faulty.py:{lines['hook']}: the plugin raised RuntimeError: no connection"


def test_logger_that_starts_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = write(folder, LOGGER.format(hook="finish", started="None"))
    assert run(capsys, "training.loggers=[faulty]") == (
        f"plugins/faulty.py:{lines['class']}: the logger 'faulty' {CONTRACT} start() gives a StartedLogger; "
        "found NoneType"
    )


def test_metric(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = write(
        folder,
        """
        @metrics.register("faulty", "Faulty")
        def faulty(ranks_U, cutoff):
            "Fails where it has many users."
            return np.ones(len(ranks_U)) / (len(ranks_U) < 100 or undefined)  # line
        """,
    )
    error = run(capsys, "evaluation.metrics=[recall, faulty]")
    assert error == f"plugins/faulty.py:{lines['line']}: the plugin raised NameError: name 'undefined' is not defined"


def test_call_of_genrec_with_bad_arguments_is_the_plugins_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = write(folder, MERGE.format(body="return Ranking.top(candidates.items_BC, None, top_n)"))
    error = run(capsys, "merge=faulty")
    assert error.startswith(f"plugins/faulty.py:{lines['body']}: the merge 'faulty' raised TypeError: ")


def test_package(folder: Path) -> None:
    """A plugin of an installed package, in a new process."""
    site = folder / "site"
    (site / "shop_merges" / "merging").mkdir(parents=True)
    (site / "shop_merges" / "__init__.py").write_text("", encoding="utf-8")
    (site / "shop_merges" / "merging" / "__init__.py").write_text("from .faulty import Faulty\n", encoding="utf-8")
    code = HEAD + MERGE.format(body="return undefined").replace('@merges.register("faulty")  # class', "")
    (site / "shop_merges" / "merging" / "faulty.py").write_text(code, encoding="utf-8")
    info = site / "shop_merges-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-merges\nVersion: 2.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[genrec.merges]\nfaulty = shop_merges.merging:Faulty\ngone = shop_merges.gone:Gone\n", encoding="utf-8"
    )
    python = f"import sys; sys.path.insert(0, {str(site)!r}); from genrec.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", python]
    listed = subprocess.run([*command, "list", "merges", "--json"], capture_output=True, text=True, timeout=120)
    assert listed.returncode == 0, listed.stderr
    found = {row["name"]: row["summary"] for row in json.loads(listed.stdout)["families"]["merges"]}
    assert (found["faulty"], found["gone"]) == ("A merge.", "entry point shop_merges.gone:Gone")
    options = ["--output", "run", "--device", "cpu", "--set", "merge=faulty"]
    failed = subprocess.run([*command, "run", "recipe.yaml", *options], capture_output=True, text=True, timeout=120)
    line = next(number for number, text in enumerate(code.splitlines(), 1) if text.endswith("# body"))
    place = f"{Path('site/shop_merges/merging/faulty.py')}:{line}"
    expected = f"{place}: the merge 'faulty' raised NameError: name 'undefined' is not defined"
    assert (failed.returncode, failed.stderr.strip().splitlines()[-1]) == (2, expected)


@pytest.mark.parametrize(
    ("code", "body", "options"),
    [
        (MERGE, "return undefined", ["--vary", "merge=confidence,faulty"]),
        (DECODER, "module.forward = lambda *a, **k: undefined", ["--vary", "streams.text.decoder=mlp,faulty"]),
        (BASELINE, "return undefined", ["--vary", "merge=confidence,round_robin", "--set", "baselines=[faulty]"]),
    ],
    ids=["merge", "decoder", "baseline"],
)
def test_comparison_goes_on_without_the_faulty_trial(folder: Path, code: str, body: str, options: list[str]) -> None:
    """A merge and a baseline fail in the main process, a decoder in a worker; other trials have results."""
    lines = write(folder, code.format(body=body, fit="return Fitted()"))
    words = ["compare", "recipe.yaml", "--device", "cpu", "--output", "comparison", "--jobs", "1", *options]
    main(words)
    content = json.loads((folder / "comparison" / "comparison.json").read_text(encoding="utf-8"))
    failures = [failure for row in content["rows"] for failure in row["failures"].values()]
    place = lines["rank" if code is BASELINE else "body"]
    family = {MERGE: "merge", DECODER: "decoder", BASELINE: "baseline"}[code]
    expected = f"plugins/faulty.py:{place}: the {family} 'faulty' raised NameError: name 'undefined' is not defined"
    assert failures == [expected]
