"""An empty working folder with a small recipe, and a registry left clean."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None, small_recipe: str) -> Path:
    """The working folder, with ``small.yaml``."""
    monkeypatch.delenv("GENREC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(small_recipe, encoding="utf-8")
    return tmp_path
