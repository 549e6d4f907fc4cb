"""The command line as a whole: exit statuses, no traceback for the user's mistakes, and no torch for a look around."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
import typer

import genrec
from genrec.cli import _app as cli
from genrec.errors import DataError

ROOT = Path(genrec.__file__).parents[1]
SMALL = "dataset={type: showroom, users: 300, items: 60}"


def python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=environment, timeout=120
    )


MODULES_WITHOUT_TORCH = """\
from genrec.plugin import Decoder, HistoryEncoder, decoders, history_encoders


@history_encoders.register("counted_history")
class CountedHistory(HistoryEncoder):
    def build(self, context):
        import torch


@decoders.register("counted_items")
class CountedItems(Decoder):
    def build(self, context):
        import torch
"""
"""Plugins that import torch when they build their modules, as a recipe of such components alone can do."""


def imported_by(words: list[str], folder: Path, libraries: set[str]) -> set[str]:
    """Which of some libraries a command that succeeds imports."""
    code = f"import sys; from genrec.cli import main; print(main({words!r}), *({libraries} & {{*sys.modules}}))"
    done = python(code, folder)
    status, *found = done.stdout.splitlines()[-1].split()
    assert status == "0", done.stdout + done.stderr
    return set(found)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["list"], ["list", "tokenizers"]])
def test_looking_around_imports_no_torch(folder: Path, words: list[str]) -> None:
    assert imported_by(words, folder, {"torch"}) == set()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["validate", "show"])
def test_torch_is_imported_for_components_that_need_it_alone(folder: Path, verb: str) -> None:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "counted.py").write_text(MODULES_WITHOUT_TORCH, encoding="utf-8")
    (folder / "light.yaml").write_text(
        "title: No torch [showroom]\n"
        "dataset: showroom\n"
        "history_encoder: counted_history\n"
        "streams: {text: {item_encoder: tfidf, tokenizer: kmeans_tree, decoder: counted_items}}\n",
        encoding="utf-8",
    )
    assert imported_by([verb, "light.yaml"], folder, {"torch"}) == set()
    assert imported_by([verb, "recipe.yaml"], folder, {"torch"}) == {"torch"}


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["kmeans_tree", "residual_kmeans", "rqvae", "product_quantizer", "random_codes"])
def test_checking_a_recipe_imports_no_library_that_only_its_work_needs(folder: Path, tokenizer: str) -> None:
    """SciPy and scikit-learn (which brings pandas, where that is installed) take two seconds to import."""
    words = [
        "validate",
        str(ROOT / "recipes/quickstart.yaml"),
        "--set",
        f"streams.text.tokenizer={{type: {tokenizer}}}",
    ]
    assert imported_by(words, folder, {"scipy", "sklearn", "pandas", "matplotlib"}) == set()


@pytest.mark.slow
def test_checking_a_recipe_costs_little_more_than_importing_torch(folder: Path) -> None:
    """Half a second of the processor on an idle machine; the best of three, and twice that, for a busy one."""
    words = ["validate", str(ROOT / "recipes/quickstart.yaml")]
    code = (
        "import time, torch; start = time.process_time(); from genrec.cli import main\n"
        f"assert main({words}) == 0; print(time.process_time() - start)"
    )
    assert min(float(python(code, folder).stdout.splitlines()[-1]) for _ in range(3)) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["list"]])
def test_looking_around_is_quick(folder: Path, words: list[str]) -> None:
    """Half a second on an idle machine; the best of three, and twice that, for a busy one."""
    code = f"import time; from genrec.cli import main; main({words!r}); print(time.process_time())"
    assert min(float(python(code, folder).stdout.splitlines()[-1]) for _ in range(3)) < 1.0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"genrec {genrec.__version__}\n"


def test_help_names_every_verb_in_reading_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    verbs = cli.verbs()
    assert {"validate", "show", "list", "schema", "doctor"} <= set(verbs)
    positions = [re.search(rf"^\W*{verb} ", text, re.MULTILINE).start() for verb in verbs]
    assert positions == sorted(positions)


@pytest.mark.parametrize("verb", cli.verbs())
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    assert f"genrec {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["nothing"], ["show"], ["show", "--nothing"], ["list", "a", "b", "c"]])
def test_wrong_usage_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Error: " in told.err
    assert "Traceback" not in told.err


def with_verb(monkeypatch: pytest.MonkeyPatch, error: BaseException, name: str = "work") -> None:
    def command() -> NoReturn:
        raise error

    monkeypatch.setattr(cli, "verbs", lambda: [name, "rest"])
    monkeypatch.setitem(sys.modules, f"genrec.cli.{name}", SimpleNamespace(command=command))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "genrec.cli.rest", SimpleNamespace(command=lambda: None))  # type: ignore[arg-type]


def test_mistake_of_the_user_is_told_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_verb(monkeypatch, DataError("items.jsonl:3: found [a], expected a number"))
    assert cli.main(["work"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "items.jsonl:3: found [a], expected a number\n")


def test_bug_of_genrecs_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_verb(monkeypatch, ZeroDivisionError("oops"))
    assert cli.main(["work"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "ZeroDivisionError: oops" in told
    assert told.endswith(f"This is a bug in genrec {genrec.__version__}, not in your input; please report it.\n")


def test_verb_may_have_verbs_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    group = typer.Typer()

    @group.command()
    def fetch() -> None:
        print("fetched")

    @group.command()
    def check() -> None:
        raise typer.Exit(3)

    monkeypatch.setattr(cli, "verbs", lambda: ["stuff"])
    monkeypatch.setitem(sys.modules, "genrec.cli.stuff", SimpleNamespace(app=group))  # type: ignore[arg-type]
    assert cli.main(["stuff", "fetch"]) == 0
    assert capsys.readouterr().out == "fetched\n"
    assert cli.main(["stuff", "check"]) == 3


def test_interrupt_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with_verb(monkeypatch, KeyboardInterrupt())
    assert cli.main(["work"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_interrupted_run_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_verb(monkeypatch, KeyboardInterrupt(), name="run")
    assert cli.main(["run"]) == 130
    assert capsys.readouterr().err.strip() == (
        "interrupted; finished stages are stored, and the same command resumes from them"
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupted_run_ends_with_one_line_and_resumes(folder: Path) -> None:
    many = ["--set", "training.max_epochs=500", "--set", "training.patience=500"]
    words = ["run", "recipe.yaml", "--output", "out", "--set", SMALL, *many]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "genrec.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may ignore it for its background
        )

    def interrupted(process: subprocess.Popen[str], line: str) -> list[str]:
        assert process.stderr is not None
        assert any(line in text for text in iter(process.stderr.readline, "")), "the line is never printed"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")
        return [text for text in err.splitlines() if ", epoch " not in text]

    last = ["interrupted; finished stages are stored, and the same command resumes from them"]
    assert interrupted(start(), ", epoch 2: ") == last
    assert not json.loads((folder / "out" / "run.json").read_text(encoding="utf-8"))["finished"]
    assert interrupted(start(), "resuming after epoch ") == last


@pytest.mark.slow
def test_waiting_threads_are_told_not_to_spin_by_the_command_line_alone(folder: Path) -> None:
    says = "print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
    main = "from genrec.cli import main; main(['--version'])"
    code = f"import os, sys; import genrec, genrec.plugin; {says}; {main}; {says}"
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for given, policy in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**inherited, **given, "PYTHONPATH": str(ROOT)},
            timeout=120,
        )
        assert done.stdout.splitlines()[::2] == [
            f"{given.get('OMP_WAIT_POLICY')} False",
            f"{policy} False",
        ], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", ["list", "data list", "show recipe.yaml", f"run recipe.yaml --quiet --set '{SMALL}'"])
def test_a_reader_of_lines_that_goes_away_is_no_bug(words: str, folder: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m genrec.cli {words} | head -n 1"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.slow
def test_reader_that_goes_away_is_no_bug(folder: Path) -> None:
    command = f"{sys.executable} -m genrec.cli schema | head -c 10"
    done = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.stdout == '{\n  "$sche'
    assert done.stderr == ""
