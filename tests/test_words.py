"""Words that genrec does not use, in names, help, messages and documents: its former dialect, and British spelling."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN = (
    # former names
    "yardstick",
    "asked_of",
    "kept_as",
    "workshop",
    "tell_prefixes",
    "each_position",
    "keep_freed_memory",
    "freed_memory",
    "_wares",
    "_purchases",
    "picture",
    # former sentences
    "trainable numbers",
    "can be believed",
    "nobody said",
    "asked of the model",
    "users asked",
    "users are asked",
    "users who are asked",
    "is no method",
    "goes on where",
    "going on after",
    "untrue",
    "to mind",
    "lives at an address",
    "has no use for",
    "have no use for",
    "branch of their own",
    "is told of",
    "what it was made of",
    "work off",
    "worked off",
    "where data lies",
    "not different",
    # British spelling
    "behaviour",
    "catalogue",
    "neighbour",
    "colour",
    "favour",
    "licence",
    "normalis",
    "optimis",
    "initialis",
    "quantis",
    "standardis",
    "minimis",
    "maximis",
    "regularis",
    "generalis",
    "summaris",
    "recognis",
    "organis",
    "memoris",
    "serialis",
    "analyse",
    "centre",
    "grey",
    "artefact",
    "modelling",
    "labelled",
)
"""Parts of words or sentences, matched in any case. Words that are plain English elsewhere are not among them."""

EXCEPTED = {
    "docs/log.md": "the log of experiments is quoted history",
    "docs/results.md": "generated from docs/results/*.json",
    "CHANGELOG.md": "names what former versions had",
    "LICENSE": "quoted",
    "genrec/datasets/readers/html.py": "lists the tags of HTML",
    "genrec/recipe/former_keys.py": "names the keys of former versions",
    "tests/test_words.py": "this list",
}
FOLDERS = ("docs/results/", "docs/performance/", "benchmarks/results/", "tests/golden/ranks/")
"""Results, which are data."""
DATA = re.compile(r"derive\(|golden: data|# foreign names")
"""Lines whose strings are data: they decide random numbers, or are names in the files of others."""


def tracked() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_forbidden_word() -> None:
    words = re.compile("|".join(map(re.escape, FORBIDDEN)), re.IGNORECASE)
    found = []
    for file in tracked():
        name = file.relative_to(ROOT).as_posix()
        if name in EXCEPTED or name.startswith(FOLDERS):
            continue
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        if hit := words.search(name):
            found.append(f"{name}: {hit.group()} in its name")
        for number, line in enumerate(lines, start=1):
            if not DATA.search(line) and (hit := words.search(line)):
                found.append(f"{name}:{number}: {hit.group()}: {line.strip()[:80]}")
    assert found == []
