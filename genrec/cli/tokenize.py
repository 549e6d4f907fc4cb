"""``genrec tokenize``: semantic IDs of a recipe and their quality, without training a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import AsJson, Data, Device, Overrides, RecipeFile, Seed, ThreadCount


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
    import genrec

    found = genrec.tokenize(
        recipe,
        vary or (),
        output=output,
        overrides=overrides,
        data=data,
        seed=seed,
        device=device,
        threads=threads,
    )

    from genrec.cli._output import print_json, print_table, results
    from genrec.reporting.code_tables import codes_table, legend, pairs_table
    from genrec.runtime.progress import console

    if as_json:
        print_json(found.quality)
        return
    measured = found.quality["variants"]
    print_table(found.title, *codes_table(measured))
    pairs = pairs_table(measured)
    if pairs[1]:
        print_table("between streams", *pairs)
    for line in [*legend(measured), *(f"Note: {note}" for note in found.quality["notes"])]:
        results().print(line, markup=False)
    console.print(f"{found.path / 'quality.md'}", markup=False)
