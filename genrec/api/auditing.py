"""Audit a dataset: its figures, and problems that invalidate results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrec.api.inputs import Overrides, RecipeLike, load_recipe, override_texts
from genrec.dataset_audit.audit import Audit
from genrec.dataset_audit.audit import audit as audit_dataset
from genrec.datasets.download import sources as published
from genrec.errors import DataError
from genrec.families import DatasetSource
from genrec.recipe import InvalidRecipeError
from genrec.recipe.blocks import Assembly
from genrec.recipe.overrides import apply
from genrec.recipe.problems import did_you_mean
from genrec.recipe.schema import Recipe
from genrec.recipe.source import Source
from genrec.registry import add_plugin_folder, plugin_errors
from genrec.runtime.environment import Environment
from genrec.types import Dataset


@plugin_errors()
def audit(
    dataset: RecipeLike | DatasetSource | Dataset,
    *,
    data: str | Path | None = None,
    overrides: Overrides = None,
) -> Audit:
    """Summarize a dataset and check it for problems that invalidate results; takes seconds and changes nothing.

    Args:
        dataset: a name of ``genrec data list``, a folder of a known format, a recipe (file, mapping or Recipe), a
            dataset source or a loaded dataset.
        data: data folder; None: beside the recipe.
        overrides: changes of the recipe, such as ``{"dataset.core": 5}``.

    Returns:
        Figures and findings, errors first.

    Raises:
        DataError: the dataset is not found or cannot be read.
        RecipeError: the recipe is not valid.
    """
    if isinstance(dataset, Dataset):
        return audit_dataset(dataset)
    source, folder = find_dataset(dataset, data=data, overrides=overrides)
    return audit_dataset(source.load(folder))


def find_dataset(
    dataset: RecipeLike | DatasetSource, *, data: str | Path | None = None, overrides: Overrides = None
) -> tuple[DatasetSource, Path | None]:
    """The source of a dataset, and the data folder to load it from; arguments as :func:`audit`."""
    folder, changes = None if data is None else Path(data), override_texts(overrides)
    if isinstance(dataset, DatasetSource):
        return dataset, folder
    if isinstance(dataset, Mapping | Recipe):
        return load_recipe(dataset, changes).dataset, folder
    path, name = Path(dataset), str(dataset)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        source = load_recipe(path, changes).dataset
        return source, Environment(data=folder, recipe=path.resolve().parent).for_dataset(source.block()).data
    for place in ("plugins", "recipes/plugins"):
        add_plugin_folder(Path.cwd() / place)
    source = published.sources().get(name)
    if source is not None and folder is not None and not source.is_found(folder):
        raise DataError(
            f"{folder / source.folder}: {name} is not there; get it with 'genrec data fetch {name} --data {folder}'"
        )
    inside = path if path.is_dir() and (folder is None or not (folder / name).is_dir()) else needed(folder) / name
    found = published.recognize(inside)
    if source is not None:
        without_items = {"items_file": None} if found and "items_file" in found else {}
        return _built(name, {**source.block, **without_items}, changes), folder
    if found is not None:
        return _built(name, {**found, "folder": inside.name}, changes), inside.parent
    known = [*published.sources(), *(place.name for place in inside.parent.glob("*") if place.is_dir())]
    if not inside.is_dir():
        raise DataError(
            f"{name!r} is neither a name in 'genrec data list', a recipe nor a folder under {inside.parent}"
            f"{did_you_mean(name, known)}"
        )
    raise DataError(
        f"{inside}: no known format; expected sequences.txt, ratings.csv with movies.csv (or "
        "ratings.dat, u.data), yelp_academic_dataset_review.json, <name>.inter or meta_<category>.json.gz; for a table "
        "write a recipe and audit that"
    )


def needed(data: Path | None) -> Path:
    """The data folder.

    Raises:
        DataError: there is none.
    """
    if data is None:
        raise DataError("no data folder: pass --data DIR or set GENREC_DATA")
    return data


def _built(name: str, block: dict[str, Any], changes: list[str]) -> DatasetSource:
    """Build a dataset from a block that is not in a recipe, with overrides ``dataset.key=value`` applied."""
    source = Source(name, {"dataset": block})
    apply(source, changes)
    assembly = Assembly(source)
    dataset = assembly.build(DatasetSource, source.data["dataset"], ("dataset",))
    if problems := [*source.problems, *assembly.problems]:
        raise InvalidRecipeError(problems)
    return dataset
