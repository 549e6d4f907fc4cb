"""``genrec export``: a finished run as a folder for serving and for model hubs."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import AsJson, Data


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished run, or hf://user/name.", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.", show_default=False)],
    images: Annotated[
        bool, typer.Option("--images", help="Add thumbnails of the items (256 pixels); needs the dataset.")
    ] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Add each stream's model in the ONNX format; needs genrec[onnx].")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Export a run without users' data: model, semantic IDs, items, results, model card."""
    import genrec
    from genrec.cli._output import print_json, printable
    from genrec.cli._plugins import find_plugins

    find_plugins()
    path = genrec.export(run, folder, images=images, onnx=onnx, data=data)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if as_json:
        print_json({"path": str(path), "bytes": size})
        return
    print(printable(f"{path}: {size / 10**6:.1f} MB; before you publish it, set its license in {path / 'README.md'}"))
