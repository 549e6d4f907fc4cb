"""Semantic IDs of a recipe and their quality, without training a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrec.api.comparisons import Vary, axis_texts, recipe_files
from genrec.api.inputs import ONE_AT_A_TIME, Overrides, RecipeLike, environment_of, override_texts
from genrec.comparison.axes import Variant, variants
from genrec.errors import DataError
from genrec.evaluation.code_quality import measure_agreement, measure_codes
from genrec.experiment.cache import Cache
from genrec.experiment.dataset import load_dataset
from genrec.experiment.fit import Fit, plan_fit
from genrec.experiment.ids import tokenize_items
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_items import SavedItems
from genrec.experiment.vectors import encode_items
from genrec.recipe.schema import Recipe
from genrec.registry import plugin_errors
from genrec.reporting.code_tables import markdown
from genrec.reporting.tables import Table
from genrec.reporting.texts import count_text
from genrec.runtime.progress import console
from genrec.runtime.threads import computed_on
from genrec.runtime.threads import threads as computing_on
from genrec.types import ABSENT, Catalog, SemanticIds


@dataclass(frozen=True, repr=False)
class Tokenized:
    """Semantic IDs and their quality. Returned by :func:`tokenize`."""

    path: Path
    """The folder with ``quality.md`` and ``quality.json``."""
    title: str
    ids: Mapping[str, Mapping[str, Table]]
    """By variant and stream: a row for each item with its key, title and codes (null for absent items)."""
    quality: Mapping[str, Any]
    """The content of ``quality.json``: by variant, the quality of each stream's codes and of each pair of streams."""

    metrics: Table
    """A row for each variant and stream: items, levels, collisions, and lists with the entropy (bits) of each level
    and, for each number of codes, the share of nearest neighbors that share them and the reconstruction error."""

    def __repr__(self) -> str:
        variants, streams = len(self.ids), len(next(iter(self.ids.values()), ()))
        counts = f"{count_text(variants, 'variant')}, {count_text(streams, 'stream')}"
        return f"Tokenized({str(self.path)!r}: {self.title}; {counts})"

    def _repr_html_(self) -> str:
        return self.metrics._repr_html_()


@plugin_errors()
def tokenize(
    recipe: RecipeLike,
    vary: Vary = (),
    *,
    output: str | Path | None = None,
    overrides: Overrides = None,
    data: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    threads: int | str | None = None,
) -> Tokenized:
    """Compute the semantic IDs of every stream and measure their quality.

    Args:
        recipe: a YAML file, a mapping with the keys of a recipe, or a recipe.
        vary: values by key, to compare several: ``{"streams.*.tokenizer": ["kmeans_tree", "rqvae"]}``.
        output: folder of the results; default ``runs/tokenize-<recipe>-<time>``. Files of a finished run stay.
        overrides: changes of the recipe.
        data: data folder.
        seed: random seed; default: the recipe's.
        device: auto, cpu, cuda, cuda:1 or mps.
        threads: number of threads; default ``auto`` unless OMP_NUM_THREADS is set.

    Raises:
        GenrecError: the recipe is not valid, or data or weights are missing.
    """
    changes = override_texts(overrides, seed)
    [file] = recipe_files(recipe, output)
    chosen = variants([file], axis_texts(vary), overrides=changes)
    checked = chosen[0].recipe
    environment = environment_of(file, checked, data=data, device=device, threads=threads)
    dataset = load_dataset(checked, environment)
    folder, is_run = _folder(None if output is None else Path(output), file)
    console.print(f"{checked.title} -> {folder.path}", markup=False)
    with nullcontext() if is_run else folder:
        if not is_run:
            folder.write_items(SavedItems.of(dataset.catalog, dataset.train))
            if len(chosen) == 1:
                folder.write_recipe(checked.to_yaml(), changes)
        place = folder.place if len(chosen) == 1 and not is_run else None
        cache = Cache(RunFolder.cache_of(None if output is None else Path(output)), place=place, quiet=True)
        measured, ids = [], {}
        with ONE_AT_A_TIME, computing_on(environment.threads):
            cache.machine = computed_on(environment.torch_device)
            for variant, fit in [
                (variant, plan_fit(_train_only(variant.recipe), dataset, environment)) for variant in chosen
            ]:
                quality, codes = _measured(variant, fit, cache)
                measured.append(quality)
                ids[variant.name] = {name: _codes_table(dataset.catalog, found) for name, found in codes.items()}
        notes = list(dict.fromkeys(note for variant in measured for note in variant.pop("notes")))
        page = {"title": checked.title, "dataset": dataset.name, "variants": measured, "notes": notes}
        folder.write_json("quality.json", page)
        folder.write_text("quality.md", markdown(checked.title, measured, notes))
        if not is_run:
            folder.finish({"stages": cache.log})
    return Tokenized(folder.path, checked.title, ids, page, Table(_metrics(measured)))


def _train_only(recipe: Recipe) -> Recipe:
    """The recipe without a final fit, which is not tokenized here."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"final_fit": False})})


def _folder(output: Path | None, recipe: Path) -> tuple[RunFolder, bool]:
    """The output folder, and whether it is that of a finished run, whose files stay unchanged."""
    if output is not None:
        try:
            return RunFolder.open(output), True
        except DataError:
            pass
    return RunFolder.create(output, Path(f"tokenize-{recipe.name}"), verb="tokenize"), False


def _measured(variant: Variant, fit: Fit, cache: Cache) -> tuple[dict[str, Any], dict[str, SemanticIds]]:
    """The quality of one variant's codes as plain data, and the codes by stream."""
    encoded = encode_items(fit, cache)
    contexts = tokenize_items(fit, encoded, cache)
    streams, notes = {}, list(variant.notes)
    for name, stream in fit.recipe.streams.items():
        context, tokenizer, key = contexts[name], stream.tokenizer, fit.keys.ids[name]
        streams[name] = {
            "tokenizer": "none" if tokenizer is None else tokenizer.type_name,
            "block": None if tokenizer is None else tokenizer.block(),
            "key": key,
            "seconds": cache.facts("ids", key).get("seconds"),
            **measure_codes(
                context.ids, context.vectors, fit.dataset.catalog, tokenizer=tokenizer, seed=fit.recipe.seed
            ),
        }
        notes += [f"stream {name}: {note}" for note in (*context.vectors.notes, *context.ids.notes)]
        if unread := streams[name]["unread"]:
            notes.append(
                f"stream {name}: {unread:,} items have no vector; their codes are in a separate branch of the tree"
            )
    ids = {name: context.ids for name, context in contexts.items()}
    vectors = {name: context.vectors for name, context in contexts.items()}
    quality = {
        "name": variant.name,
        "setting": dict(variant.setting),
        "overrides": list(variant.overrides),
        "seed": fit.recipe.seed,
        "streams": streams,
        "pairs": measure_agreement(ids, vectors, seed=fit.recipe.seed),
        "notes": notes,
    }
    return quality, ids


def _codes_table(catalog: Catalog, ids: SemanticIds) -> Table:
    levels = {
        f"code {level}": np.ma.masked_equal(codes_I, ABSENT) for level, codes_I in enumerate(ids.codes_IL.T, start=1)
    }
    return Table({"item": list(catalog.keys), "title": list(catalog.titles), **levels})


def _metrics(variants: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    rows = [
        {
            "variant": variant["name"],
            "stream": name,
            "tokenizer": stream["tokenizer"],
            "items": stream["items"],
            "absent": stream["absent"],
            "levels": len(stream["levels"]),
            "collisions": stream["collisions"],
            "entropy": [level["entropy"] for level in stream["levels"]],
            "neighbors_sharing": [prefix["neighbors_sharing"] for prefix in stream["prefixes"]],
            "reconstruction_error": [prefix["reconstruction_error"] for prefix in stream["prefixes"]],
            "seconds": stream["seconds"],
        }
        for variant in variants
        for name, stream in variant["streams"].items()
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}
