"""Add new items to a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrec.api.inputs import ONE_AT_A_TIME, environment_of
from genrec.api.runs import Run, load_run
from genrec.registry import plugin_errors
from genrec.reporting.texts import count_text
from genrec.runtime.progress import console
from genrec.serving.hub import run_folder


@plugin_errors()
def add_items(
    run: str | Path | Run,
    items: str | Path,
    output: str | Path,
    *,
    data: str | Path | None = None,
    vectors: Mapping[str, str | Path] | None = None,
    new_only: bool = False,
    device: str = "auto",
) -> Run:
    """Add new items to a finished run, as another run that recommends them too. Nothing is trained.

    The items are encoded with the item encoders of the run and get codes from its tokenizers. A stream that cannot
    encode an item (``cooccurrence``, ``din``, an item without a photo) puts it next to the most similar known item by
    the vectors of another stream, or leaves it out. Item embeddings and vectors of nodes start from those of the most
    similar known items. Known items keep codes and scores; a softmax over more items or more children of a node gives
    them a smaller probability, all by the same factor.

    Args:
        run: a finished run, its folder or ``hf://user/name``; it is not changed.
        items: ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet`` with the columns ``key`` (or ``item_id``), ``title``,
            ``text``, ``image`` (path relative to the file), or those of the recipe's dataset.
        output: folder of the new run. Its ``versions.json`` has what was added, and how each item got its codes.
        data: data folder of the run, for encoders that are fitted to the catalog (``tfidf``, ``columns``, ``pixels``,
            ``concatenation``); default: that of the run.
        vectors: by stream, a file with vectors of the new items, as ``precomputed`` reads them, used instead of the
            stream's encoder.
        new_only: leave items out that the run has, instead of raising an error.
        device: auto, cpu, cuda, cuda:1 or mps.

    Returns:
        The new run, with the results of the old one.

    Raises:
        DataError: files or weights are missing or malformed, an item is in the run already, or a tokenizer has no free
            code.
        PluginError: a plugin fails, or its module does not say how it grows.
    """
    old = run if isinstance(run, Run) else load_run(run)  # fails before any work
    files = {name: Path(file) for name, file in (vectors or {}).items()}
    path, _ = grow_run(old.path, Path(items), Path(output), data=data, vectors=files, new_only=new_only, device=device)
    return load_run(path)


@plugin_errors()
def grow_run(
    run: Path,
    items: Path,
    output: Path,
    *,
    data: str | Path | None,
    vectors: Mapping[str, Path],
    new_only: bool,
    device: str,
) -> tuple[Path, dict[str, Any]]:
    """As :func:`add_items`, also for runs of versions whose results cannot be loaded.

    Returns:
        The folder, and the last entry of its ``versions.json``.
    """
    from genrec.growth.add_items import add_items as add  # imports torch, which takes seconds

    environment = environment_of(data=data, device=device)
    with ONE_AT_A_TIME:
        written, version = add(
            run_folder(run), items, output, environment=environment, vectors=vectors, new_only=new_only
        )
    lost = set(version["items"]).intersection(*(ways.get("left out", ()) for ways in version["streams"].values()))
    if lost:
        first = ", ".join([key for key in version["items"] if key in lost][:3])
        console.print(f"Note: no stream recommends {count_text(len(lost), 'new item')}, e.g. {first}", markup=False)
    for note in version["notes"]:
        console.print(f"Note: {note}", markup=False)
    return written.path, version
