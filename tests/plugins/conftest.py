"""The working folder of a faulty plugin."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_plugins import RECIPE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> Path:
    """The working folder: a recipe and an empty folder of plugins."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path
