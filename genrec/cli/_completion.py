"""Values that a shell completes: names of families, components and published datasets. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

import typer


def families(incomplete: str) -> Iterator[str]:
    """The families of components, and metrics."""
    from genrec.evaluation.metrics import METRICS
    from genrec.families import FAMILIES

    return (name for name in (registry.family for registry in (*FAMILIES, METRICS)) if name.startswith(incomplete))


def components(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """The components of the family that is already on the command line, with their summaries."""
    from genrec.cli._plugins import find_plugins
    from genrec.families import FAMILIES

    find_plugins()
    for registry in FAMILIES:
        if registry.family == context.params.get("family"):
            for entry in registry.entries():
                if entry.problem is None and entry.name.startswith(incomplete):
                    yield entry.name, entry.summary


def published(incomplete: str) -> Iterator[tuple[str, str]]:
    """The published datasets."""
    from genrec.datasets.download.sources import sources

    return ((name, source.what) for name, source in sources().items() if name.startswith(incomplete))


def devices(incomplete: str) -> Iterator[str]:
    """The kinds of devices."""
    return (name for name in ("auto", "cpu", "cuda", "mps") if name.startswith(incomplete))
