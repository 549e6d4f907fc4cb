"""Every promise of docs/faults.md and docs/security.md names a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["faults", "security"])
def test_promises_name_their_tests(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) >= 10
    for file, name in named:
        code = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {name}(" in code if name else code, f"{file}::{name}"
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| fault", "| input"))]
    without = [row for row in rows if "`tests/" not in row and row != "| promise | test |"]
    assert without == []
