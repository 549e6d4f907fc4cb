"""An export has all that recommending needs, nothing of users, and gives the lists of its run."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import genrec
from genrec.datasets.showroom import Showroom
from genrec.errors import DataError
from genrec.experiment.run_folder import RunFolder
from genrec.families import baselines, datasets, decoders, history_encoders, item_encoders, merges, tasks, tokenizers
from genrec.serving.export import REQUIREMENTS, export_run
from genrec.serving.images import ItemImages, write_thumbnails
from genrec.serving.recommender import Recommender
from tests.damaged_files import forget_checksums

ROOT = Path(__file__).parents[2]
FILES = {"README.md", "curves.svg", "items.json", "merge.json", "metrics.json", "model.safetensors", "recipe.yaml"}
FILES |= {"audit.json", "report.md", "requirements.txt", "run.json"}
FILES |= {
    f"streams/{name}/{what}.safetensors" for name in ("behavior", "text", "visual") for what in ("ids", "vectors")
}


@pytest.fixture(scope="module", name="exported")
def _exported(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the small run; look, do not write."""
    return genrec.load_run(small_run).export(tmp_path_factory.mktemp("export") / "x", images=True)


def files_of(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def header_of(export: Path) -> dict[str, object]:
    _, header, _ = (export / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header)


def test_an_export_gives_the_lists_of_its_run(small_run: Path, exported: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(exported, tmp_path / "moved")
    histories = [["item-1", "item-2"], ["item-30"], [], ["item-7", "nothing"]]
    ours, theirs = (Recommender.load(folder).recommend(histories, k=20) for folder in (small_run, moved))
    assert ours.to_polars().equals(theirs.to_polars(), null_equal=True)
    assert (
        genrec.load_run(moved).recommender(device="cpu").recommend(histories).item_keys()[0] == ours.item_keys()[0][:10]
    )


def test_an_export_has_these_files_and_none_of_users(exported: Path) -> None:
    assert files_of(exported) == FILES | {"images/00000.safetensors"}
    for name in FILES - {"model.safetensors"}:
        if not name.endswith(".safetensors"):
            text = (exported / name).read_text(encoding="utf-8")
            assert "user-" not in text, name
            assert str(ROOT) not in text, name
    assert json.loads((exported / "metrics.json").read_text(encoding="utf-8"))["example_history"] == []
    assert "genrec recommend" not in (exported / "report.md").read_text(encoding="utf-8")
    mark = json.loads((exported / "run.json").read_text(encoding="utf-8"))
    assert "folders" not in mark
    assert set(mark["files"]) == files_of(exported) - {"run.json"}


def test_an_export_loads_as_a_run_without_users(small_run: Path, exported: Path) -> None:
    run, whole = genrec.load_run(exported), genrec.load_run(small_run)
    assert run.metrics.to_polars().equals(whole.metrics.to_polars())
    assert run.recipe == whole.recipe
    assert run.conclusion == whole.conclusion
    assert len(run.ranks) == 0
    assert run.ranks.columns == whole.ranks.columns
    assert whole.title in repr(run)
    assert whole.title in run._repr_html_()
    for work in (lambda: genrec.compare(run, vary={"merge": ["confidence", "log_prob_sum"]}),):
        with pytest.raises(DataError) as caught:
            work()
        assert (
            str(caught.value) == f"{exported}: an export has no data of users, expected the folder of the finished run"
        )


def test_an_export_of_an_export_is_the_same(exported: Path, tmp_path: Path) -> None:
    again = genrec.export(exported, tmp_path / "again", images=True)
    assert files_of(again) == files_of(exported)
    for name in files_of(exported):
        assert (again / name).read_bytes() == (exported / name).read_bytes(), name


def test_a_damaged_export_says_what_to_do(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "damaged")
    file = folder / "streams" / "text" / "ids.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError) as caught:
        Recommender.load(folder)
    assert str(caught.value) == (
        f"{file}: its checksum is not the one in {folder / 'run.json'}; export the run or download the export again"
    )
    record = folder / "run.json"
    record.write_text(record.read_text(encoding="utf-8").replace('"finished": true', '"finished": 1'), encoding="utf-8")
    with pytest.raises(DataError, match=r"damaged, its content .*; export the run or download the export again$"):
        genrec.load_run(folder)


def test_the_folder_is_new_or_empty_and_no_link(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("Dear", encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    for name, problem in (
        ("full", "is not empty (it has letter.txt), expected a new or empty folder"),
        ("file", "is a file, expected a folder for the run"),
        ("link", f"is a symbolic link to {tmp_path / 'elsewhere'}, expected a new or empty folder"),
    ):
        with pytest.raises(DataError) as caught:
            genrec.export(small_run, tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {problem}"
    assert not files_of(tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    genrec.export(small_run, tmp_path / "empty")
    with pytest.raises(DataError, match=r"expected a new or empty folder$"):
        genrec.export(small_run, tmp_path / "empty")


def test_a_failed_export_leaves_nothing(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genrec.serving.export.model_card", lambda *_, **__: pytest.fail("out of memory"))
    with pytest.raises(pytest.fail.Exception):
        genrec.export(small_run, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_what_a_killed_export_left_is_replaced(small_run: Path, tmp_path: Path) -> None:
    killed = RunFolder.create(tmp_path / "x", Path("x"))
    (killed.draft / "model.safetensors").write_bytes(b"half")
    killed._lock.release()  # type: ignore[union-attr]
    genrec.export(small_run, tmp_path / "x")
    assert files_of(tmp_path / "x") == FILES


def test_a_run_that_cannot_be_loaded_is_not_exported(small_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns(".stages"))
    (run / "streams" / "text" / "ids.safetensors").unlink()
    with pytest.raises(DataError, match=r"ids\.safetensors: missing"):
        genrec.export(run, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_run_of_an_earlier_version_can_be_exported(small_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns(".stages", "candidates"))
    forget_checksums(run)
    for name in ("users.json", "audit.json", "training.json"):
        (run / name).unlink()
    items = json.loads((run / "items.json").read_text(encoding="utf-8"))
    del items["counts"]
    (run / "items.json").write_text(json.dumps(items), encoding="utf-8")
    mark = {"verb": "run", "finished": True, "genrec": "0.1.0"}
    (run / "run.json").write_text(json.dumps(mark), encoding="utf-8")
    export = genrec.export(run, tmp_path / "x")
    assert len(Recommender.load(export).recommend(["item-3"])[0]) == 10
    assert "genrec 0.1.0" in (export / "README.md").read_text(encoding="utf-8")


def test_the_model_card_is_one_that_hubs_read(exported: Path, small_run: Path) -> None:
    header = header_of(exported)
    assert {header["library_name"], header["license"]} == {"genrec", "other"}
    assert header["datasets"] == ["showroom"]
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install 'genrec[text]'")
    [*results] = hub.ModelCard.load(exported / "README.md").data.eval_results
    means = {(row["metric"], row["cutoff"]): row["mean"] for row in genrec.load_run(small_run).metrics.to_dicts()[:4]}
    assert {result.metric_type: result.metric_value for result in results} == {
        f"{metric}_at_{cutoff}": round(mean, 6) for (metric, cutoff), mean in means.items()
    }
    assert {result.dataset_split for result in results} == {"test"}


def test_the_model_card_says_what_the_model_is_and_is_not(exported: Path, small_run: Path) -> None:
    text = (exported / "README.md").read_text(encoding="utf-8")
    run = genrec.load_run(small_run)
    sections = ["Use", "Data", "Results", "Semantic IDs", "Limitations", "Training"]
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == sections
    assert run.conclusion in text
    for row in run.report.rows:
        assert f"| {row.name} |" in text or f"| *{row.name}* |" in text
    assert "kmeans_tree (branching 8, balanced true" in text
    cold = sum(count == 0 for count in json.loads((exported / "items.json").read_text(encoding="utf-8"))["counts"])
    assert f"- Cold items: {cold} of 60 items occur in no training history" in text
    audited = json.loads((small_run / "audit.json").read_text(encoding="utf-8"))["findings"]
    warnings = [finding["text"] for finding in audited if finding["severity"] != "ok"]
    assert warnings
    assert all(warning in text for warning in warnings)
    python = text.split("```python\n")[1].split("```")[0].replace("hf://USER/NAME", str(exported))
    exec(compile(python, "README.md", "exec"), {})  # the lines that a reader copies


def test_requirements_are_those_of_the_project(exported: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert set(REQUIREMENTS) <= set(project)
    lines = (exported / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert tuple(lines[1:]) == REQUIREMENTS
    assert lines[0].startswith("# ")


def test_serving_imports_no_more_than_the_requirements(exported: Path) -> None:
    """Without the packages of training, encoding and plotting; what is imported is what is required."""
    missing = ("faiss", "matplotlib", "sklearn", "scipy", "PIL", "transformers", "huggingface_hub", "pandas")
    script = (
        "import sys\n"
        f"for name in {missing!r}: sys.modules[name] = None\n"
        "import genrec\n"
        f"genrec.load_run({str(exported)!r}).recommender(device='cpu').recommend(['item-3']).table()\n"
        "from genrec.cli import main\n"
        f"assert main(['recommend', {str(exported)!r}, '--history', 'item-3', '--json']) == 0\n"
        "print(*sorted({name.partition('.')[0] for name, module in sys.modules.items() if module}), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=exported.parent
    )
    assert done.returncode == 0, done.stderr
    distributions = packages_distributions()
    imported = {name.lower() for module in done.stderr.split() for name in distributions.get(module, ())}
    assert {line.partition(">")[0] for line in REQUIREMENTS} <= imported
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    direct = {line.partition(">")[0] for line in project}
    assert imported & direct == {line.partition(">")[0] for line in REQUIREMENTS}


def test_no_component_of_the_core_imports_more_at_its_top() -> None:
    """A recipe's components are imported to recommend, also those that only trained the model."""
    allowed = {
        "torch",
        "numpy",
        "threadpoolctl",
        "pydantic",
        "yaml",
        "safetensors",
        "polars",
        "filelock",
        "rich",
        "genrec",
    }
    allowed |= set(sys.stdlib_module_names)
    families = (item_encoders, tokenizers, history_encoders, decoders, tasks, merges, baselines, datasets)
    found = set()
    for file in (file for family in families for file in (ROOT / "genrec" / family.folder).glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {f"{file.name}: {name}" for name in names if name.partition(".")[0] not in allowed}
    assert not found


def test_thumbnails_are_those_of_the_items(exported: Path) -> None:
    from io import BytesIO

    from PIL import Image

    shown, catalog = ItemImages.of(exported), Showroom(items=60, users=120).load().catalog
    assert shown is not None
    assert catalog.images is not None
    assert 0 < catalog.images.counts_I.sum() < 60 or catalog.images.counts_I.all()
    for item in range(60):
        content = shown.jpeg(item)
        assert (content is not None) == bool(catalog.images.counts_I[item])
        if content is not None:
            image = Image.open(BytesIO(content))
            assert image.format == "JPEG"
            assert max(image.size) <= 256
            small = catalog.images.open(item).resize((8, 8)).tobytes()
            assert max(abs(a - b) for a, b in zip(small, image.resize((8, 8)).tobytes(), strict=True)) < 40
    assert shown.jpeg(60) is None
    assert shown.jpeg(5000) is None


def test_a_run_without_images_has_no_thumbnails(small_run: Path) -> None:
    assert ItemImages.of(small_run) is None


def test_thumbnails_are_small_many_in_a_file_and_broken_ones_are_counted(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    class Photos:
        counts_I = np.array([1, 0, 1] + [0] * 2100 + [1], dtype=np.int32)

        def open(self, item: int, number: int = 0) -> Image.Image:
            if item == 2:
                raise DataError("2.jpg: broken")
            return Image.new("RGB", (1000, 500 if item else 250), (200, 30, 30))

    assert write_thumbnails(Photos(), range(len(Photos().counts_I)), tmp_path) == (2, 1)
    assert [file.name for file in sorted((tmp_path / "images").iterdir())] == ["00000.safetensors", "00001.safetensors"]
    shown = ItemImages(tmp_path)
    from io import BytesIO

    first, last = shown.jpeg(0), shown.jpeg(2103)
    assert first is not None
    assert last is not None
    assert Image.open(BytesIO(first)).size == (256, 64)
    assert Image.open(BytesIO(last)).size == (256, 128)
    assert [shown.jpeg(item) for item in (1, 2, 2102, 2104)] == [None] * 4


def test_thumbnails_need_the_data_of_the_run(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Showroom(items=60, users=120).load()
    renamed = replace(other, catalog=replace(other.catalog, keys=tuple(f"other {key}" for key in other.catalog.keys)))
    monkeypatch.setattr(Showroom, "load", lambda *_: renamed)
    with pytest.raises(DataError) as caught:
        export_run(small_run, tmp_path / "x", images=True)
    assert str(caught.value) == (
        f"{small_run}: none of its 60 items is an item of showroom; expected the data of the run (--data)"
    )
    assert not (tmp_path / "x").exists()


def test_damaged_thumbnails_name_their_file(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "x")
    file = folder / "images" / "00000.safetensors"
    file.write_bytes(b"no tensors")
    with pytest.raises(DataError, match=r"00000\.safetensors: its checksum is not the one in"):
        ItemImages(folder).jpeg(0)
    (folder / "run.json").unlink()
    with pytest.raises(DataError, match=r"00000\.safetensors: expected thumbnails, found something else"):
        ItemImages(folder).jpeg(0)
