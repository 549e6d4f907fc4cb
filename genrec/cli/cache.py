"""``genrec cache``: what is in the cache of finished stages, and removing what is not needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli._options import AsJson

if TYPE_CHECKING:
    from genrec.experiment.cache_entries import CacheEntry

app = typer.Typer(no_args_is_help=True, help="List or clean the cache of finished stages.")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="The --output of the runs (default: the cache that all runs in runs/ share).",
        show_default=False,
    ),
]


@app.command("list")
def list_entries(output: Output = None, as_json: AsJson = False) -> None:
    """List finished stages, unfinished work and leftovers, with their size, last use and the runs that use them."""
    from genrec.cli._output import print_json, results
    from genrec.experiment.cache_entries import cache_entries

    root = _root(output)
    entries = cache_entries(root)
    if as_json:
        print_json([_plain(entry) for entry in entries])
        return
    _print(f"{root}: {_total(entries)}", entries)
    unused = [entry for entry in entries if entry.is_stage and not entry.runs]
    if unused:
        results().print(f"{_total(unused)} used by no run: genrec cache clean --unused", markup=False)


@app.command("clean")
def clean(
    output: Output = None,
    unused: Annotated[bool, typer.Option("--unused", help="Also remove finished stages that no run uses.")] = False,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="AGE", help="Keep stages and unfinished work used within this time (12h, 30d)."
        ),
    ] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed; remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove leftovers of killed processes and old unfinished work; the files of runs stay unchanged.

    Unfinished work: checkpoints of interrupted trainings, parts of item vectors, trained baselines, training logs.
    """
    from genrec.cli._output import print_json
    from genrec.experiment.cache_entries import clean_cache

    seconds, root = _parse_age(older_than), _root(output)
    removed = clean_cache(root, unused=unused, older_than=seconds, dry_run=dry_run)
    if as_json:
        print_json([_plain(entry) for entry in removed])
    elif not removed:
        print(f"{root}: nothing to remove")
    else:
        _print(f"{root}: {'would remove' if dry_run else 'removed'} {_total(removed)}", removed)


def _root(output: Path | None) -> Path:
    from genrec.errors import DataError
    from genrec.experiment.run_folder import RunFolder

    root = RunFolder.cache_of(output)
    if not root.is_dir():
        where = "pass the --output of the runs" if output is None else "expected the --output of a run"
        raise DataError(f"{root}: no such folder, so there is no cache; {where}")
    return root


def _parse_age(text: str) -> float:
    from genrec.errors import GenrecError

    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) < 10 and unit in _UNITS):
        raise GenrecError(f"--older-than {text}: expected a number and a unit, such as 90s, 30m, 12h or 7d")
    return float(number) * _UNITS[unit]


def _print(title: str, entries: list[CacheEntry]) -> None:
    from genrec.cli._output import print_table

    now = time.time()
    rows = [(e.kind, e.key[:32], e.inputs, _size(e.size), _age(now - e.last_used), ", ".join(e.runs)) for e in entries]
    print_table(title, ("kind", "key", "inputs", "size", "last used", "used by"), rows)


def _plain(entry: CacheEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "key": entry.key,
        "inputs": entry.inputs,
        "files": [str(file) for file in entry.files],
        "bytes": entry.size,
        "seconds_since_last_use": round(time.time() - entry.last_used),
        "runs": list(entry.runs),
    }


def _total(entries: list[CacheEntry]) -> str:
    count = "1 entry" if len(entries) == 1 else f"{len(entries):,} entries"
    return f"{count}, {_size(sum(entry.size for entry in entries))}"


def _size(count: float) -> str:
    power = min(len(f"{count:.0f}") - 1, 14) // 3
    return f"{count / 1000**power:.{0 if power == 0 else 1}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def _age(seconds: float) -> str:
    unit = next((unit for unit in ("d", "h", "m") if seconds >= 2 * _UNITS[unit]), "s")
    return f"{max(seconds, 0) / _UNITS[unit]:.0f} {unit} ago"
