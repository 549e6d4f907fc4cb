"""The notebooks in ``examples/`` run from outside the repository, without an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
pytest.importorskip("nbclient", reason="nbclient is not installed: pip install 'genrec[dev]'")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install 'genrec[dev]'")


def test_there_are_notebooks() -> None:
    assert [file.name for file in EXAMPLES] == ["quickstart.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_notebook_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("GENREC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(file, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    html = ["".join(str(output.get("data", {}).get("text/html", "")) for output in found) for found in outputs]
    run, ndcg, ranks, recommended, comparison = html[2], html[3], html[4], html[5], html[7]
    assert "The merge" in run
    assert "confidence" in ndcg
    assert ranks.count("<tr") == 6
    assert recommended.count("<tr") == 11
    assert any("image/png" in output.get("data", {}) for output in outputs[6])
    assert "reciprocal" in comparison
    stream = "".join(output.text for found in outputs for output in found if output.output_type == "stream")
    assert re.search(r"epoch \d+: ", stream), "progress is shown"
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
