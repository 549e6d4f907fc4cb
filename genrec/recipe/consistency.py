"""Checks across blocks: names of streams, decoders without a tokenizer, head counts that do not divide the width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from pydantic import BaseModel

from genrec.evaluation.protocol import EvaluationSettings
from genrec.families import (
    Baseline,
    Component,
    Decoder,
    EmbeddingHistoryEncoder,
    HistoryEncoder,
    Task,
    Tokenizer,
)
from genrec.recipe.problems import Path, Problem, did_you_mean, dotted, one_of
from genrec.recipe.source import UNREADABLE, Source, holds
from genrec.search.settings import SearchSettings

_DISTANCES: Path = ("evaluation", "distances_in")


def disagreements(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[Problem]:
    """Problems between blocks that are valid by themselves.

    Args:
        source: the recipe as it is written.
        built: the objects that could be built, by path; incomplete if the recipe has other errors.
    """
    checks = (
        _streams(source, built),
        _absent_items(source),
        _names(source, built),
        _vectors(source, built),
        _states(source, built),
        _lists(source, built),
        _cold_items(built),
        _bounds(source, built),
        _heads(source, built),
        _widths(source, built),
        _item_tables(source, built),
        _rows(built),
    )
    for path, text in chain.from_iterable(checks):
        yield Problem(source.place(path), dotted(path), text)


def _cold_items(built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    """Items that are held out at random are those of users' last items."""
    evaluation = built.get(("evaluation",))
    if not isinstance(evaluation, EvaluationSettings) or not evaluation.cold_items:
        return
    if (name := evaluation.split.type_name) != "leave_one_out":
        yield (
            ("evaluation", "cold_items"),
            f"found {evaluation.cold_items:g} with split: {name}, expected 0, or split: leave_one_out "
            "(global_time with unseen_items: keep has items that are new in time)",
        )


def _streams(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    for path, decoder in built.items():
        if not (isinstance(decoder, Decoder) and len(path) == 3 and path[0] == "streams"):
            continue
        tokenizer = (*path[:2], "tokenizer")
        is_there = _written(source.data, tokenizer) is not None
        if decoder.writes_codes and not is_there:
            text = f"missing, expected a tokenizer: the decoder {decoder.type_name!r} writes codes"
            yield tokenizer, f"{text} (see: genrec list tokenizers)"
        elif is_there and not decoder.writes_codes:
            yield tokenizer, f"found a tokenizer, expected none: the decoder {decoder.type_name!r} writes no codes"


def _absent_items(source: Source) -> Iterator[tuple[Path, str]]:
    """``nearest`` needs another stream."""
    streams = source.data.get("streams")
    if not isinstance(streams, Mapping):
        return
    for name, stream in streams.items():
        if not isinstance(stream, Mapping):
            continue
        path: Path = ("streams", name)
        how, guide = stream.get("absent_items"), stream.get("nearest_in")
        others = [other for other in streams if other != name]
        if how == "nearest" and guide is None:
            text = f"missing, expected {one_of(others)}" if others else "missing, and there is no other stream"
            yield (
                (*path, "nearest_in"),
                f"{text}: absent_items: nearest finds similar items by the vectors of this stream",
            )
        elif how in (None, "own_branch", "leave_out") and guide is not None:
            yield (*path, "nearest_in"), "found a stream, expected none: it is only used with absent_items: nearest"
        elif isinstance(guide, str) and guide not in others:
            expected = one_of(others) if others else "another stream"
            yield (*path, "nearest_in"), f"found {guide!r}, expected {expected}{did_you_mean(guide, others)}"


def _names(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    streams = source.data.get("streams")
    if not isinstance(streams, Mapping) or not streams:
        return
    for path, component in built.items():
        if not isinstance(component, Component):
            continue
        for name in dict.fromkeys(component.streams_used()):
            if name not in streams:
                text = f"unknown stream {name!r}, expected {one_of(list(streams))}{did_you_mean(name, streams)}"
                yield _where(_written(source.data, path), name, path), text


def _vectors(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    """Tokenizers, and components that refer to a stream by name, need item vectors."""
    streams = source.data["streams"] if _are_streams(source) else {}
    without = []
    for name in streams:
        path: Path = ("streams", name, "item_encoder")
        encoder = built.get(path)
        is_written = _written(source.data, path) is not None
        if is_written and (encoder is None or getattr(encoder, "gives_vectors", True)):
            continue
        without.append(name)
        tokenizer = built.get((*path[:2], "tokenizer"))
        if isinstance(tokenizer, Tokenizer) and tokenizer.reads_vectors:
            found = "found none" if is_written else "missing"
            yield (
                path,
                f"{found}, expected an item encoder: the tokenizer needs vectors (see: genrec list item_encoders)",
            )
    for name in streams if without else ():
        guide = _written(source.data, ("streams", name, "nearest_in"))
        if isinstance(guide, str) and guide in without:
            yield ("streams", name, "nearest_in"), _no_vectors(guide)
    guide = _written(source.data, _DISTANCES)
    if isinstance(guide, str) and streams:
        if guide not in streams:
            yield (
                _DISTANCES,
                f"unknown stream {guide!r}, expected {one_of(list(streams))}{did_you_mean(guide, streams)}",
            )
        elif guide in without:
            yield _DISTANCES, _no_vectors(guide)
    for path, component in built.items():
        reads_vectors = component.reads_vectors if isinstance(component, HistoryEncoder | Task) else True
        if not isinstance(component, HistoryEncoder | Decoder | Task) or not reads_vectors:
            continue
        for name in dict.fromkeys(component.streams_used()):
            if name in without:
                yield _where(_written(source.data, path), name, path), _no_vectors(name)
        if without and not component.streams_used() and isinstance(component, Task) and set(without) == set(streams):
            yield path, "no stream has vectors, expected one with an item_encoder"


def _no_vectors(stream: str) -> str:
    return f"the stream {stream!r} has no vectors, expected one with an item_encoder"


def _states(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    """Tasks train decoders that read states; a decoder that only counts reads none."""
    for name in source.data["streams"] if _are_streams(source) else ():
        decoder, own = built.get(("streams", name, "decoder")), ("streams", name, "history_encoder")
        if isinstance(decoder, Decoder) and not decoder.reads_states and _written(source.data, own) is not None:
            yield own, f"found a history encoder, expected none: the decoder {decoder.type_name!r} reads no states"
    for path, task in built.items():
        if not isinstance(task, Task):
            continue
        for name in dict.fromkeys(task.streams_used()):
            decoder = built.get(("streams", name, "decoder"))
            if isinstance(decoder, Decoder) and not decoder.reads_states:
                text = (
                    f"the decoder {decoder.type_name!r} of the stream {name!r} reads no states, expected one that does"
                )
                yield _where(_written(source.data, path), name, path), text


def _are_streams(source: Source) -> bool:
    return isinstance(source.data.get("streams"), Mapping)


def _lists(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    def settings(key: str, cls: type[Any]) -> Any:
        return built.get((key,)) if source.data.get(key) is not None else cls()

    search, evaluation = settings("search", SearchSettings), settings("evaluation", EvaluationSettings)
    if search is None or evaluation is None or search.list_length >= max(evaluation.cutoffs):
        return
    length, cutoff = search.list_length, max(evaluation.cutoffs)
    if _written(source.data, ("search", "list_length")) is not None:
        yield (
            ("search", "list_length"),
            f"found {length}, expected at least {cutoff}, the largest of evaluation.cutoffs",
        )
    else:
        yield ("evaluation", "cutoffs"), f"found {cutoff}, expected at most {length}, the default of search.list_length"


def _bounds(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    """The search by bound needs prefixes that bound their items."""
    search = built.get(("search",))
    if not isinstance(search, SearchSettings) or search.method != "bound":
        return
    for path, decoder in built.items():
        if isinstance(decoder, Decoder) and path[0] == "streams" and not decoder.bounds_descendants:
            yield (
                ("search", "method"),
                f"found bound, expected beam or exact: the decoder {decoder.type_name!r} of the stream {path[1]!r} "
                "scores nodes by themselves, so that an item may score higher than a prefix of its code",
            )


def _history_encoders(source: Source, built: Mapping[Path, BaseModel]) -> dict[str, Path]:
    """The path of the history encoder of each stream whose decoder reads states (or could not be built)."""
    found: dict[str, Path] = {}
    for name in source.data["streams"] if _are_streams(source) else ():
        own: Path = ("streams", name, "history_encoder")
        if getattr(built.get(("streams", name, "decoder")), "reads_states", True):
            found[name] = own if _written(source.data, own) is not None else ("history_encoder",)
    return found


def _readers(
    source: Source, built: Mapping[Path, BaseModel]
) -> Iterator[tuple[Path, Decoder | Task, dict[Path, HistoryEncoder]]]:
    """Every decoder and task: its path, itself, and the history encoders whose states it reads, by path."""
    of_streams = _history_encoders(source, built)
    for path, component in built.items():
        if isinstance(component, Decoder) and len(path) == 3 and path[0] == "streams":
            names: list[Any] = [path[1]]
        elif isinstance(component, Task):
            names = list(component.streams_used() or of_streams)
        else:
            continue
        encoders = {of_streams[name]: built.get(of_streams[name]) for name in names if name in of_streams}
        yield path, component, {at: encoder for at, encoder in encoders.items() if isinstance(encoder, HistoryEncoder)}


def _heads(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    """The number of heads of decoders and tasks of the core must divide the width of the history encoder."""
    for path, component, encoders in _readers(source, built):
        num_heads = getattr(component, "num_heads", None)
        if not num_heads or not type(component).__module__.startswith("genrec."):
            continue
        for at, encoder in encoders.items():
            if encoder.dim % num_heads:
                text = f"found {num_heads}, expected a number that divides {dotted((*at, 'dim'))}, {encoder.dim}"
                yield (*path, "num_heads"), text
                break


def _widths(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    """Tasks that read several streams need states of one width, unless they project each stream."""
    for path, component, encoders in _readers(source, built):
        if isinstance(component, Task) and component.needs_equal_dims and len({e.dim for e in encoders.values()}) > 1:
            dims = ", ".join(f"{dotted((*at, 'dim'))} {encoder.dim}" for at, encoder in encoders.items())
            yield path, f"found states of different widths ({dims}), expected one width for the streams of a task"


def _item_tables(source: Source, built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    """A shared item table is initialized by the first history encoder: that of the recipe, then those of streams."""
    first: dict[int, tuple[Path, EmbeddingHistoryEncoder]] = {}
    for path in sorted(dict.fromkeys(_history_encoders(source, built).values()), key=len):
        encoder = built.get(path)
        if not isinstance(encoder, EmbeddingHistoryEncoder) or encoder.share == "none":
            continue
        owner, its = first.setdefault(encoder.dim, (path, encoder))
        if encoder.start_from and encoder.start_from != its.start_from:
            found, expected = (", ".join(names) or "nothing" for names in (encoder.start_from, its.start_from))
            yield (
                (*path, "start_from"),
                f"found {found}, expected {expected} as in {dotted(owner)}, whose item table it shares; "
                "or share: none for a separate table",
            )


def _rows(built: Mapping[Path, BaseModel]) -> Iterator[tuple[Path, str]]:
    """A report has one row per baseline, named by its type."""
    first: dict[str, Path] = {}
    for path, component in built.items():
        if not (isinstance(component, Baseline) and path[:1] == ("baselines",)):
            continue
        name = component.type_name
        if name in first:
            yield path, f"found {name!r} again, expected each baseline once (first as {dotted(first[name])})"
        first.setdefault(name, path)


def _written(data: Any, path: Path) -> Any:
    """The value at a path of a recipe; None if there is none."""
    for step in path:
        if not holds(data, step):
            return None
        data = data[step]
    return None if data is UNREADABLE else data


def _where(block: Any, name: str, path: Path) -> Path:
    """The path of the key or list entry of a block that holds a name; the path of the block if none does."""
    if isinstance(block, Mapping):
        for key, value in block.items():
            if value == name and key != "type":
                return (*path, key)
            if isinstance(value, list) and name in value:
                return (*path, key, value.index(name))
    return path
