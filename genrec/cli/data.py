"""``genrec data``: list, fetch and audit datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli._completion import published
from genrec.cli._options import AsJson, Data, Overrides

if TYPE_CHECKING:
    from genrec.dataset_audit.audit import Audit
    from genrec.datasets.download.sources import Source

app = typer.Typer(no_args_is_help=True, help="List, fetch and audit datasets.")

_Named = Annotated[
    str,
    typer.Argument(
        metavar="NAME_OR_RECIPE",
        help="Name in 'data list', recipe, or folder under --data.",
        show_default=False,
        autocompletion=published,
    ),
]


_DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="GENREC_DATA",
        help="Data folder: a folder for each dataset.",
        show_default=False,
    ),
]


@app.command("list")
def list_sources(
    word: Annotated[
        str | None, typer.Argument(help="Only list names that contain this, e.g. ml- or 2018.", show_default=False)
    ] = None,
    data: _DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """List published datasets with size, license, and whether they are under --data."""
    from genrec.cli._output import print_json, print_table
    from genrec.datasets.download.sources import sources

    found = [source for source in sources().values() if word is None or word in source.name]
    if as_json:
        print_json([_as_dict(source, data) for source in found])
        return
    rows = [
        (
            source.name,
            source.what,
            *(f"{count:,}" if count else "?" for count in (source.users, source.items, source.interactions)),
            source.block["type"],
            _size(source.size),
            _where(source, data),
        )
        for source in found
    ]
    columns = ("name", "what", "users", "items", "interactions", "format", "size", "found")
    print_table("published datasets", columns, rows)
    print_table("licenses", ("datasets", "license"), _grouped([(source.name, source.terms) for source in found]))
    if notes := [(source.name, source.note) for source in found if source.note]:
        print_table("notes", ("datasets", "note"), _grouped(notes))


@app.command("fetch")
def fetch_source(
    name: Annotated[str, typer.Argument(help="Name in 'data list'.", show_default=False, autocompletion=published)],
    data: _DataFolder = None,
    is_agreed: Annotated[bool, typer.Option("--yes", help="Download without confirmation.")] = False,
) -> None:
    """Download, verify and unpack a dataset; an interrupted download resumes."""
    from genrec.api.auditing import needed
    from genrec.datasets.download.fetch import fetch, remote_size
    from genrec.datasets.download.sources import sources
    from genrec.errors import DataError
    from genrec.recipe.problems import did_you_mean

    source = sources().get(name)
    if source is None:
        raise DataError(
            f"unknown published dataset {name!r}{did_you_mean(name, list(sources()))}; 'genrec data list' lists them"
        )
    data = needed(data)
    folder = data / source.folder
    if source.is_found(data) and not any((folder / file.name).is_file() for file in source.missing(data)):
        print(f"{folder}: already there; to fetch it again, move it away")
        return
    downloads = [
        (file, remote_size(source, file, data))
        for file in source.missing(data)
        if file.url and not (folder / file.name).is_file()
    ]
    print(f"{source.name}: {source.what}\nlicense: {source.terms}\nsee:     {source.page}")
    for file, size in downloads:
        print(f"from:    {file.url} ({_size(size)}, {file.checksum or 'no checksum published'})")
    print(f"to:      {folder}")
    if source.note:
        print(f"note:    {source.note}")
    if downloads and not is_agreed:
        typer.confirm("Download it under these terms?", abort=True)
    for line in fetch(source, data):
        print(line)
    print(f"{folder}: ready; next: genrec data audit {source.name} --data {data}")


@app.command("audit")
def audit_dataset(name: _Named, data: Data = None, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Summarize a dataset and check it for problems that invalidate results."""
    import genrec
    from genrec.api.auditing import find_dataset
    from genrec.cli._output import print_json

    dataset, data = find_dataset(name, data=data, overrides=overrides)
    found = genrec.audit(dataset, data=data)
    if as_json:
        print_json({"block": dataset.block(), **found.to_dict()})
    else:
        _print_audit(found)


@app.command("images")
def list_images(name: _Named, data: Data = None, overrides: Overrides = None) -> None:
    """Print the URLs of the items' images, one line 'key<TAB>url' each, for any downloader."""
    from genrec.api.auditing import find_dataset
    from genrec.cli._output import printable
    from genrec.errors import DataError

    dataset, data = find_dataset(name, data=data, overrides=overrides)
    urls = getattr(dataset, "image_urls", None)
    if urls is None:
        raise DataError(
            f"{name}: the dataset {dataset.type_name!r} has no image URLs; "
            "expected a dataset whose metadata has them, such as amazon_reviews"
        )
    for key, url in urls(data):
        print(printable(f"{key}\t{url}"))


def _as_dict(source: Source, data: Path | None) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(source), "size": source.size, "found": None if data is None else source.is_found(data)}


def _where(source: Source, data: Path | None) -> str:
    if data is None:
        return "no --data"
    return "yes" if source.is_found(data) else "no"


def _size(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def _grouped(named: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """One row per text, with the names that share it."""
    rows = []
    for text in dict.fromkeys(text for _, text in named):
        names = [name for name, other in named if other == text]
        rows.append((", ".join(names) if len(names) < 5 else f"{names[0]} ... {names[-1]} ({len(names)})", text))
    return rows


def _print_audit(found: Audit) -> None:
    from genrec.cli._output import print_table, printable

    print_table(found.dataset, ("statistic", "value"), _figures(found))
    rows = [(finding.severity, finding.check, finding.text, finding.advice) for finding in found.findings]
    print_table("findings", ("severity", "check", "found", "what to do"), rows)
    if found.notes:
        print_table("notes of the reader", ("note",), [(note,) for note in found.notes])
    for line in found.lines():
        print(printable(line))


def _figures(found: Audit) -> list[tuple[str, str]]:
    figures = found.figures
    return [
        ("users", f"{figures.users:,}"),
        ("test users", f"{figures.evaluation_users:,}"),
        ("items", f"{figures.items:,}"),
        ("interactions", f"{figures.interactions:,}"),
        ("dates (UTC)", "none" if figures.first is None else f"{figures.first} to {figures.last}"),
        ("density", f"{100 * figures.density:.3g} %"),
        (
            "history length: min, median, mean, max",
            f"{figures.shortest:,}, {figures.median:g}, {figures.mean:.1f}, {figures.longest:,}",
        ),
        ("items with a title", f"{figures.titled:.1%}"),
        ("items with a text", f"{figures.described:.1%}"),
        ("items with an image", f"{figures.with_image:.1%} ({figures.images:,} images)"),
        ("items in no training history", f"{figures.untrained_items:,}"),
        ("validation targets in no training history", f"{figures.untrained_valid:.2%}"),
        ("test targets in no training history", f"{figures.untrained_test:.2%}"),
        ("repeated interactions", f"{figures.repeats:,}"),
        ("test targets in their own history", f"{figures.repeated_test:.1%}"),
        ("interactions with the most popular 1 % of items", f"{figures.top_percent:.1%}"),
        ("history order", found.order),
    ]
