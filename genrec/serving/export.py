"""A finished run -> a folder for serving and for model hubs: model, codes, items, results, a model card; no users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrec.errors import DataError
from genrec.experiment.run_folder import RunFolder, refuse_used
from genrec.experiment.saved_items import VERSIONS
from genrec.reporting.report import Report, read_metrics
from genrec.reporting.report_files import read_report
from genrec.reporting.report_markdown import markdown
from genrec.runtime.checksums import parsing, read_mark, verify
from genrec.runtime.environment import Environment
from genrec.runtime.files import read_json
from genrec.runtime.progress import console
from genrec.serving.images import thumbnail_files, write_thumbnails
from genrec.serving.model_card import model_card
from genrec.serving.recommender import Recommender
from genrec.version import __version__

REQUIREMENTS = (
    "torch>=2.6",
    "numpy>=1.26",
    "threadpoolctl>=3.1",
    "pydantic>=2.8",
    "pyyaml>=6.0",
    "typer>=0.12",
    "rich>=13.7",
    "safetensors>=0.4.3",
    "polars>=1.44",
    "filelock>=3.12",
)
"""All that loading a run and recommending import, and the command line; as in ``pyproject.toml``."""
_FACTS = ("model", "genrec", "date", "device", "threads", "seconds")
"""What an export repeats of ``run.json``; the folders of the machine and the stages are left out."""


def export_run(run: Path, folder: Path, *, images: bool = False, onnx: bool = False, data: Path | None = None) -> Path:
    """Export a finished run. The folder is written whole or not at all.

    Args:
        run: folder of the run.
        folder: of the export; new or empty.
        images: also write thumbnails of the items, which needs the dataset of the run.
        onnx: also write each stream's model in the ONNX format.
        data: data folder, for ``images``; None: that of the run.

    Returns:
        The folder.

    Raises:
        DataError: the folder is not empty, a file of the run is missing or damaged, or the dataset is another one.
        GenrecError: ``onnx`` is requested and cannot be written.
    """
    recommender = Recommender(run, environment=Environment("cpu"))  # what cannot be loaded is not exported
    source = RunFolder.open(run)
    report = _without_users(read_report(source.path))
    record, items = read_mark(source.path), source.read_items()
    refuse_used(folder)
    with RunFolder.create(folder, Path(folder.name)) as target:
        for name in _copied(source.path, recommender):
            target.place(verify(source.path / name), name)
        if (source.path / VERSIONS).is_file():
            with parsing(source.path / VERSIONS, "the record of added items"):
                versions = [_without_folders(version) for version in source.read_json(VERSIONS)]
            target.write_json(VERSIONS, versions)
        target.write_json("metrics.json", {**read_metrics(source.path), "example_history": []})
        target.write_text("report.md", markdown(report, None))
        card = model_card(
            report, recommender.recipe, recommender.streams, items, record=record, audit=_audit(source.path)
        )
        target.write_text("README.md", card)
        target.write_text("requirements.txt", requirements_text())
        if images:
            _add_images(source, target, recommender, data)
        if onnx:
            from genrec.serving.onnx import write_onnx

            write_onnx(recommender, target.draft)
        target.finish({"exported": True, **{name: record[name] for name in _FACTS if name in record}})
    return folder


def requirements_text() -> str:
    """The content of ``requirements.txt`` of an export."""
    first = f"# To recommend: pip install -r requirements.txt && pip install --no-deps genrec=={__version__}"
    return "\n".join([first, *REQUIREMENTS]) + "\n"


def _without_users(report: Report) -> Report:
    """A report without the history of a user and the folder of the data."""
    return replace(report, example_history=(), data_folder=None)


def _without_folders(version: dict[str, Any]) -> dict[str, Any]:
    """What was added to a run, without the folders of the machine."""
    return {**version, "from": {"model": version["from"]["model"]}, "file": Path(version["file"]).name}


def _copied(run: Path, recommender: Recommender) -> Iterator[str]:
    """The files of a run that an export has unchanged; models and codes of new items are built from the vectors."""
    yield from ("model.safetensors", "recipe.yaml", "merge.json", "items.json")
    for name in recommender.streams:
        yield from (f"streams/{name}/ids.safetensors", f"streams/{name}/vectors.safetensors")
    yield from (name for name in ("audit.json", "curves.svg") if (run / name).is_file())


def _audit(run: Path) -> dict[str, Any]:
    file = run / "audit.json"
    if not file.is_file():
        return {}
    with parsing(file, "the audit of a dataset"):
        return dict(read_json(verify(file)))


def _add_images(source: RunFolder, target: RunFolder, recommender: Recommender, data: Path | None) -> None:
    if copied := list(thumbnail_files(source.path)):  # the run is an export
        for name in copied:
            target.place(verify(source.path / name), name)
        return
    from genrec.experiment.dataset import load_dataset

    recipe = recommender.recipe
    dataset = load_dataset(recipe, source.located(Environment(data=data)).for_dataset(recipe.dataset.block()))
    rows = [dataset.catalog.row_of.get(key) for key in recommender.keys]
    if all(row is None for row in rows):
        raise DataError(
            f"{source.path}: none of its {len(rows):,} items is an item of {dataset.name}; expected the data of the "
            "run (--data)"
        )
    images = dataset.catalog.images
    if images is None or not images.counts_I.any():
        raise DataError(f"{source.path}: --images: {dataset.name} has no images; export without them")
    written, broken = write_thumbnails(images, rows, target.draft)
    if broken:
        console.print(f"{broken:,} images cannot be read and are left out, {written:,} are exported", markup=False)
