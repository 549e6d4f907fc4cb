"""Hostile inputs: one line that names the place, exit status 2, no hang, no memory."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.damaged_files import forget_checksums
from tests.faults.hostile_inputs import ALL, BUYS, ITEMS, RECIPE
from tests.faults.one_process_each import Commands

MOST_SECONDS, MOST_MB = 20, 1500

_LINES = Path(__file__).with_name("hostile_messages.txt").read_text(encoding="utf-8").splitlines()
MESSAGES = dict(line.split(" | ", 1) for line in _LINES)
"""The last line on standard error, by name of the input; FOLDER stands for the working folder, <any> for the words of
a library."""


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    """Runs commands in processes of their own."""
    started = Commands()
    yield started
    started.close()


def test_there_are_many_and_each_has_its_message() -> None:
    assert len(ALL) >= 80
    assert list(MESSAGES) == list(ALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_hostile_input_is_one_line(name: str, commands: Commands, small_run: Path, tmp_path: Path) -> None:
    hostile, where = ALL[name], tmp_path / "home"
    where.mkdir()
    for file, text in (("r.yaml", RECIPE), ("buys.csv", BUYS), ("items.csv", ITEMS)):
        (where / file).write_text(text, encoding="utf-8")
    if "RUN" in hostile.words:
        shutil.copytree(small_run, where / "RUN", ignore=shutil.ignore_patterns(".stages"))
        if any(file.startswith("RUN/") and file != "RUN/run.json" for file in hostile.files):
            forget_checksums(where / "RUN")
    for file, content in hostile.files.items():
        (where / file).write_bytes(content)
    done = commands.run(where, hostile.words)
    assert "Traceback" not in done.stderr
    assert done.status == 2, done.stderr
    expected = ".*".join(map(re.escape, MESSAGES[name].split("<any>")))
    assert re.fullmatch(expected, done.stderr.splitlines()[-1].replace(str(where), "FOLDER"))
    assert done.cpu_seconds < MOST_SECONDS
    assert done.peak_mb < MOST_MB
    assert not (where / "out" / "recipe.yaml").exists(), "what an unfinished run wrote is removed, but for its stages"
