"""Full disks, folders that cannot be written and outputs that are closed: one line, exit status 2, nothing is lost."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from genrec.cli import main
from tests.faults.tiny_shop import ROOT, files, recipe_file, results, run_in


def genrec(*words: str, where: Path, limit: int | None = None, shell: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, whose files may have at most ``limit`` bytes."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    same = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "genrec.cli", *words]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(
        command, cwd=where, env=os.environ | same, capture_output=True, text=True, timeout=120, preexec_fn=limited
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The message of a command that fails in one line after its log."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "file"), [(10, "run/.lock.json"), (1500, "run/.new/"), (3000, "run/.new/"), (6000, "run/.stages/")]
)
def test_a_full_disk_is_one_line_and_loses_nothing(limit: int, file: str, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path)
    expected = run_in(tmp_path / "expected", recipe)
    done = genrec("run", "shop.yaml", "--output", "run", "--device", "cpu", where=tmp_path, limit=limit)
    line = last_line(done)
    assert line.startswith(file)
    assert line.endswith(": cannot be written: File too large")
    assert not [name for name in files(tmp_path / "run") if name.endswith(".partial")] if limit > 10 else True
    run_in(tmp_path / "run", recipe)
    assert results(tmp_path / "run") == results(expected)
    assert files(tmp_path / "run") == files(expected)


@pytest.mark.slow
def test_a_full_disk_leaves_the_finished_run(tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path)
    folder = run_in(tmp_path / "run", recipe)
    before, names = results(folder), files(folder)
    change = ("--set", "evaluation.bootstrap_samples=21", "--force")
    line = last_line(
        genrec("run", "shop.yaml", "--output", "run", "--device", "cpu", *change, where=tmp_path, limit=3000)
    )
    assert line.endswith(": cannot be written: File too large")
    assert (results(folder), files(folder)) == (before, names)


@pytest.mark.slow
def test_a_small_tmpfs_that_is_full(tmp_path: Path) -> None:
    """As :func:`test_a_full_disk_is_one_line_and_loses_nothing`, where a file system can be mounted."""
    recipe_file(tmp_path)
    (tmp_path / "disk").mkdir()
    script = (
        f"mount -t tmpfs -o size=40k tmpfs {tmp_path / 'disk'} && "
        f"{sys.executable} -m genrec.cli run shop.yaml --output disk/run --device cpu"
    )
    can_mount = ["unshare", "--map-root-user", "--mount", "true"]
    try:
        subprocess.run(can_mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "mount:" in done.stderr:
        pytest.skip("no file system can be mounted here")
    line = last_line(done)
    assert line.startswith("disk/run/")
    assert line.endswith(": No space left on device")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "shop.yaml"], ["validate", "shop.yaml"]])
def test_standard_output_that_is_full(words: list[str], tmp_path: Path) -> None:
    recipe_file(tmp_path)
    line = last_line(genrec(*words, where=tmp_path, shell="> /dev/full"))
    assert line == "standard output cannot be written: No space left on device"


@pytest.mark.slow
@pytest.mark.parametrize("words", [["list"], ["validate"], ["run"]])
def test_a_deleted_working_folder(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"import os, sys; os.chdir({str(tmp_path / 'gone')!r}); os.rmdir({str(tmp_path / 'gone')!r})"
    recipe = [] if words == ["list"] else [str(recipe_file(tmp_path))]
    code = f"{command}; from genrec.cli import main; sys.exit(main({[*words, *recipe]!r}))"
    same = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | same, capture_output=True, text=True, timeout=120
    )
    assert last_line(done) == "the working folder was deleted or cannot be read; change to another folder"


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("/proc/genrec", "/proc/genrec: cannot be written: "),
        ("/dev/null/run", "/dev/null: is a file, expected a folder for the run"),
    ],
)
def test_a_folder_that_cannot_be_created(
    place: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe_file(tmp_path)
    assert main(["run", "shop.yaml", "--output", place]) == 2
    told = capsys.readouterr().err
    assert told.startswith(problem)
    assert told.count("\n") == 1


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_a_folder_that_is_read_only(
    error: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Simulated: for the superuser no folder is read-only."""
    monkeypatch.chdir(tmp_path)
    recipe_file(tmp_path)

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["run", "shop.yaml", "--output", "run"]) == 2
    assert capsys.readouterr().err == f"run: cannot be written: {error.strerror}\n"
    assert main(["run", "shop.yaml"]) == 2
    assert capsys.readouterr().err.endswith(f": cannot be created: {error.strerror}\n")


def test_an_error_of_the_system_elsewhere_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe_file(tmp_path)
    failures = {
        OSError(28, "No space left on device", "events.out"): (2, "events.out: cannot be read or written: No space"),
        OSError(28, "No space left on device"): (2, "a file: cannot be read or written: No space left on device\n"),
        FileNotFoundError(2, "No such file or directory", "x"): (1, "Traceback"),
    }
    for error, (status, text) in failures.items():

        def fail(*_: object, error: OSError = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("genrec.recipe.load_recipe", fail)
        assert main(["validate", "shop.yaml"]) == status
        assert capsys.readouterr().err.startswith(text)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]", b"null", b'{"keys": 3}', b"[" * 50_000])
@pytest.mark.parametrize("name", ["run.json", "items.json", "merge.json", "recipe.yaml"])
def test_a_malformed_file_of_a_run_without_checksums_is_one_line(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As version 0.1.0 or someone else wrote it."""
    run = tmp_path / "run"
    run.mkdir()
    recipe_file(run).rename(run / "recipe.yaml")
    (run / "run.json").write_text('{"finished": true}', encoding="utf-8")
    (run / "items.json").write_text(json.dumps({"keys": ["a"], "titles": ["A"]}), encoding="utf-8")
    (run / "merge.json").write_text('{"type": "confidence"}', encoding="utf-8")
    (run / name).write_bytes(content)
    capsys.readouterr()
    assert main(["recommend", str(run), "--history", "a"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(str(run))
    assert told.err.count("\n") == 1 or name == "recipe.yaml"
    assert "Traceback" not in told.err
