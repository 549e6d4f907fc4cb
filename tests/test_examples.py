"""The notebooks in ``examples/`` run from outside the repository, without an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
pytest.importorskip("nbclient", reason="nbclient is not installed: pip install 'genrec[dev]'")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install 'genrec[dev]'")


def text_of(output: Mapping[str, Any]) -> str:
    """The text of a stream or of what is displayed."""
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def test_there_are_notebooks() -> None:
    assert [file.name for file in EXAMPLES] == ["quickstart.ipynb", "recommend.ipynb"]


def outputs_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The outputs of each code cell of a notebook that is executed in a folder."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("GENREC_DATA", raising=False)
    monkeypatch.chdir(folder)
    [file] = [file for file in EXAMPLES if file.name == name]
    notebook = nbformat.read(file, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    assert {path.name for path in folder.iterdir()} == {"runs"}
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def html_of(outputs: list[Any]) -> str:
    return "".join(str(output.get("data", {}).get("text/html", "")) for output in outputs)


@pytest.mark.slow
def test_the_quickstart_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = outputs_of("quickstart.ipynb", tmp_path, monkeypatch)
    html = [html_of(found) for found in outputs]
    run, ndcg, ranks, recommended, comparison = html[2], html[3], html[4], html[5], html[7]
    assert "The merge" in run
    assert "confidence" in ndcg
    assert ranks.count("<tr") == 6
    assert recommended.count("<tr") == 11
    assert any("image/png" in output.get("data", {}) for output in outputs[6])
    assert "reciprocal" in comparison
    widget = "application/vnd.jupyter.widget-view+json"
    assert any(widget in output.get("data", {}) for output in outputs[2]), "progress bars"
    assert "epoch 8: " in "".join(map(text_of, outputs[2]))


@pytest.mark.slow
def test_the_notebook_of_recommendations_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run, table, vote, plot, many, export = outputs_of("recommend.ipynb", tmp_path, monkeypatch)
    assert "The merge" in html_of(run)
    assert html_of(table).count("<tr") == 9
    assert "semantic_id=(" in "".join(map(text_of, vote))
    assert any("image/png" in output.get("data", {}) for output in plot)
    assert "(0, 1, 0) (False, False, True)" in "".join(map(text_of, many))
    assert "library_name: genrec" in "".join(map(text_of, export))
    assert (tmp_path / "runs" / "shop-model" / "run.json").is_file()


@pytest.mark.slow
def test_an_interrupted_cell_resumes_when_it_is_run_again(tmp_path: Path, small_recipe: str) -> None:
    from jupyter_client.manager import start_new_kernel

    (tmp_path / "small.yaml").write_text(small_recipe, encoding="utf-8")
    run = "run = genrec.run('small.yaml', 'out', {'training.max_epochs': 30, 'training.patience': 30}, device='cpu')"
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    output: list[str] = []

    def interrupt_in_training(message: dict[str, Any]) -> None:
        collect(message)
        if "epoch 3: " in output[-1]:
            manager.interrupt_kernel()

    def collect(message: dict[str, Any]) -> None:
        output.append(text_of(message["content"]))

    try:
        client.execute_interactive("import genrec", timeout=120)
        reply = client.execute_interactive(run, timeout=120, output_hook=interrupt_in_training)
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        output.clear()
        reply = client.execute_interactive(
            f"{run}; print(len(run.report.curve), 'epochs')", timeout=120, output_hook=collect
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        text = "".join(output)
        assert "resuming after epoch" in text
        assert "epoch 1: " not in text, "finished epochs are not trained again"
        assert "30 epochs" in text
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
