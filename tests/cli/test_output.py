"""Output for pipes and terminals of any encoding."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genrec.cli import main
from tests.damaged_files import forget_checksums


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_titles_that_a_pipe_cannot_encode(small_run: Path, folder: Path, encoding: str) -> None:
    """The first words of every title: Chinese, a lone surrogate, and escapes that clear the screen (7 and 8 bits)."""
    copy = forget_checksums(shutil.copytree(small_run, folder / "copy"))
    items = json.loads((copy / "items.json").read_text(encoding="utf-8"))
    items["titles"] = [f"红色 \ud83d \x1b[2J\x9b2J {title}" for title in items["titles"]]
    (copy / "items.json").write_text(json.dumps(items), encoding="utf-8")
    words = [sys.executable, "-m", "genrec.cli", "recommend", str(copy), "--device", "cpu", "--history", "item-3"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for options in ([], ["--json"]):
        done = subprocess.run([*words, *options], capture_output=True, env=environment, timeout=120)
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode(encoding)
        assert "\x1b" not in text
        assert "\x9b" not in text
        assert ("红色" in text) == (encoding == "utf-8")
    assert all(item["title"].startswith("红色 \ud83d \x1b[2J\x9b2J ") for item in json.loads(text))


@pytest.mark.slow
def test_the_json_of_a_run_loses_no_character_in_a_pipe_of_another_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", pipe)
    small = ["--set", "dataset={type: showroom, users: 300, items: 60}", "--set", "baselines=[]"]
    assert main(["run", "recipe.yaml", "--json", "--quiet", "--set", "title=红色", *small]) == 0
    assert json.loads(pipe.buffer.getvalue())["title"] == "红色"  # type: ignore[attr-defined]
