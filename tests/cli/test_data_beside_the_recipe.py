"""Data beside the recipe is found without ``--data``, by every command that takes a recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from shop_files import small_shop, write_sequences

from genrec.cli import main

TRANSITION = """\
title: Transition counts
dataset: {type: sequences, folder: shop}
history_encoder: item_ids
streams: {behavior: {decoder: transition}}
baselines: []
evaluation: {cutoffs: [5]}
"""


@pytest.fixture
def project(folder: Path) -> Path:
    """``project/recipe.yaml``, another folder than the working folder."""
    (folder / "project").mkdir()
    (folder / "project" / "recipe.yaml").write_text(TRANSITION, encoding="utf-8")
    return folder / "project"


@pytest.mark.parametrize("place", ["data/shop", "data", "shop"])
def test_run_and_compare_find_it(project: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_sequences(small_shop(), project / place)
    assert main(["run", "project/recipe.yaml", "--output", "out", "--set", "training.max_epochs=1"]) == 0
    data = project if place == "shop" else project / "data"
    assert f"--data {data}" in capsys.readouterr().out.replace("\n", " "), "the next steps repeat the folder"
    assert main(["compare", "project/recipe.yaml", "--seeds", "1,2", "--dry-run"]) == 0
    assert "2 trials on " in capsys.readouterr().out
    assert main(["data", "audit", "project/recipe.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["block"]["folder"] == "shop"


def test_a_given_folder_comes_first(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sequences(small_shop(), project / "shop")
    shutil.copytree(project / "shop", project.parent / "given" / "shop")
    dry = ["compare", "project/recipe.yaml", "--seeds", "1,2", "--dry-run"]
    (project / "shop" / "sequences.txt").write_text("broken\n", encoding="utf-8")
    assert main(dry) == 2
    assert "shop/sequences.txt:1: user 'broken' has no items" in capsys.readouterr().err
    assert main([*dry, "--data", "given"]) == 0
    monkeypatch.setenv("GENREC_DATA", "given")
    assert main(dry) == 0
