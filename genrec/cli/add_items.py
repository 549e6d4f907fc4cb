"""``genrec add-items``: a finished run that also recommends new items."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import AsJson, Data, Device


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.", show_default=False)],
    items: Annotated[
        Path,
        typer.Argument(
            metavar="ITEMS",
            help="New items, .jsonl, .csv, .tsv or .parquet: key (or item_id), title, text, image (path relative to "
            "the file), other columns, or the columns of the recipe's dataset.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder of the new run; RUN stays as it is.")],
    data: Data = None,
    vectors: Annotated[
        list[str] | None,
        typer.Option(
            "--vectors",
            metavar="STREAM=FILE",
            help="Vectors of the new items in a stream, .parquet, .safetensors or .npy, instead of its item encoder.",
            show_default=False,
        ),
    ] = None,
    new_only: Annotated[
        bool, typer.Option("--new-only", help="Leave out the items of ITEMS that the run has.")
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Add new items to a finished run, without training: a new run that recommends them too."""
    from genrec.api.growing import grow_run
    from genrec.cli._output import print_json, print_table
    from genrec.cli._plugins import find_plugins
    from genrec.errors import GenrecError
    from genrec.reporting.texts import count_text

    files = {}
    for text in vectors or ():
        stream, sign, file = text.partition("=")
        if not (stream and sign and file):
            raise GenrecError(f"--vectors {text}: expected STREAM=FILE, such as text=vectors.parquet")
        files[stream] = Path(file)
    find_plugins()
    path, added = grow_run(run, items, output, data=data, vectors=files, new_only=new_only, device=device)
    if as_json:
        print_json(added)
        return
    rows = [
        (stream, how, f"{len(keys):,}", ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else ""))
        for stream, ways in added["streams"].items()
        for how, keys in ways.items()
    ]
    title = f"{count_text(len(added['items']), 'new item')} -> {path}"
    print_table(title, ("stream", "codes", "items", "for example"), rows)
