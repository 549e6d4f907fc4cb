"""``genrec tokenize``: semantic IDs of a recipe and their quality, without training a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli._options import (
    AsJson,
    Data,
    Device,
    Overrides,
    RecipeFile,
    Seed,
    ThreadCount,
    changes_of,
    environment_of,
)

if TYPE_CHECKING:
    from genrec.comparison.axes import Variant
    from genrec.experiment.cache import Cache
    from genrec.experiment.fit import Fit
    from genrec.experiment.run_folder import RunFolder
    from genrec.recipe import Recipe


def command(
    recipe: RecipeFile,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=V1,V2",
            help="Compare several values in one table: 'streams.*.tokenizer=kmeans_tree,{type: rqvae, levels: 4}'.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="DIR",
            help="Output folder (default: runs/tokenize-<recipe>-<time>); the files of a finished run stay unchanged.",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: ThreadCount = None,
    as_json: AsJson = False,
) -> None:
    """Compute the semantic IDs of every stream and report their quality."""
    from genrec.comparison.axes import variants
    from genrec.recipe import dump_recipe

    changes = changes_of(overrides, seed)
    chosen = variants([recipe], vary or (), overrides=changes)

    from genrec.cli._output import print_json, print_table, results
    from genrec.experiment.cache import Cache
    from genrec.experiment.dataset import load_dataset
    from genrec.experiment.fit import plan_fit
    from genrec.experiment.run_folder import RunFolder
    from genrec.reporting.code_tables import codes_table, legend, markdown, pairs_table
    from genrec.runtime.progress import console
    from genrec.runtime.threads import threads as computing_on

    environment = environment_of(recipe, chosen[0].recipe.block(), data=data, device=device, threads=threads)
    dataset = load_dataset(chosen[0].recipe, environment)
    folder, is_run = _folder(output, recipe)
    title = chosen[0].recipe.title
    console.print(f"{title} -> {folder.path}", markup=False)
    if not is_run:
        folder.write_catalog(dataset.catalog)
        if len(chosen) == 1:
            folder.write_recipe(dump_recipe(chosen[0].recipe), changes)
    place = folder.place if len(chosen) == 1 and not is_run else None
    cache = Cache(RunFolder.cache_of(output), place=place, quiet=True)
    with computing_on(environment.threads):
        fits = [plan_fit(_train_only(variant.recipe), dataset, environment) for variant in chosen]
        measured = [_measured(variant, fit, cache) for variant, fit in zip(chosen, fits, strict=True)]
    notes = list(dict.fromkeys(note for variant in measured for note in variant.pop("notes")))
    page = {"title": title, "dataset": dataset.name, "variants": measured, "notes": notes}
    folder.write_json("quality.json", page)
    folder.write_text("quality.md", markdown(title, measured, notes))
    if not is_run:
        folder.finish({"stages": cache.log})
    if as_json:
        print_json(page)
        return
    print_table(title, *codes_table(measured))
    pairs = pairs_table(measured)
    if pairs[1]:
        print_table("between streams", *pairs)
    for line in [*legend(measured), *(f"Note: {note}" for note in notes)]:
        results().print(line, markup=False)
    console.print(f"{folder.path / 'quality.md'}", markup=False)


def _train_only(recipe: Recipe) -> Recipe:
    """The recipe without a final fit, which is not tokenized here."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"final_fit": False})})


def _folder(output: Path | None, recipe: Path) -> tuple[RunFolder, bool]:
    """The output folder, and whether it is that of a finished run, whose files stay unchanged."""
    from genrec.errors import DataError
    from genrec.experiment.run_folder import RunFolder

    if output is not None:
        try:
            return RunFolder.open(output), True
        except DataError:
            pass
    return RunFolder.create(output, Path(f"tokenize-{recipe.name}"), verb="tokenize"), False


def _measured(variant: Variant, fit: Fit, cache: Cache) -> dict[str, Any]:
    """The quality of one variant's codes, as plain data."""
    from genrec.evaluation.code_quality import measure_agreement, measure_codes
    from genrec.experiment.ids import tokenize_items
    from genrec.experiment.vectors import encode_items

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
    pairs = measure_agreement(ids, vectors, seed=fit.recipe.seed)
    return {
        "name": variant.name,
        "setting": dict(variant.setting),
        "overrides": list(variant.overrides),
        "seed": fit.recipe.seed,
        "streams": streams,
        "pairs": pairs,
        "notes": notes,
    }
