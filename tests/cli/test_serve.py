"""``genrec serve``: what cannot be served is one line, and nothing of the service is imported without need."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from genrec.cli import main

pytestmark = pytest.mark.slow


def in_new_process(code: str) -> str:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": root}, check=True
    )
    return done.stdout + done.stderr


def test_nothing_of_the_service_is_imported_without_need() -> None:
    code = "import sys, genrec.cli, genrec.serving.recommender; genrec.cli.main(['serve', '--help']); "
    code += "print({'fastapi', 'uvicorn', 'prometheus_client', 'genrec.serving.service'} & {*sys.modules})"
    assert in_new_process(code).endswith("set()\n")


def test_a_missing_package_is_named_with_its_extra(small_run: Path) -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from genrec.cli import main; "
    code += f"print(main(['serve', {str(small_run)!r}]))"
    assert in_new_process(code) == "2\ngenrec serve: package uvicorn is missing; pip install 'genrec[serve]'\n"


def test_what_cannot_be_served_is_one_error(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GENREC_API_KEY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = [
            ([str(tmp_path)], f"{tmp_path}: not the folder of a run"),
            ([str(small_run), str(small_run)], f"a run named {small_run.parent.name}/run is already served"),
            ([str(small_run), "--port", port], f"--host 127.0.0.1 --port {port}: cannot listen there"),
            ([str(small_run), "--host", "no.such.host.invalid"], "cannot listen there"),
            ([str(small_run), "--queue", "1"], "--queue: found 1, expected at least 64"),
            ([str(small_run), "--api-key-file", str(tmp_path / "none")], "cannot be read"),
            ([str(small_run), "--threads", "no"], "--threads no: expected a positive integer or auto"),
        ]
        for arguments, words in cases:
            assert main(["serve", *arguments]) == 2, arguments
            errors = capsys.readouterr().err
            assert words in errors
            assert "Traceback" not in errors


def test_a_run_that_cannot_be_loaded_ends_the_process_with_its_error(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_run, run := tmp_path / "run", ignore=shutil.ignore_patterns(".stages"))
    (run / "model.safetensors").write_bytes(b"damaged")
    assert main(["serve", str(run), "--port", "0"]) == 2
    assert str(run / "model.safetensors") in capsys.readouterr().err
