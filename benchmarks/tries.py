"""What tries cost: building one of a million items, its memory, and its share of each step of a beam search.

``python benchmarks/tries.py [--output FILE]``. One thread, CPU-seconds, medians.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _models import Sizes, build_retriever, random_histories, random_ids
from _results import Cell, Result, Table, give, read_conditions, say_load

from genrec.model.contracts import DecoderModule
from genrec.search.beam import BeamSearch
from genrec.search.method import SearchRules
from genrec.semantic_ids.trie import Trie

_MB = 1e6
_BESIDE = "decoder"


def array_bytes(*holders: object) -> int:
    """Bytes of all arrays and tensors in some dataclasses; what shares memory counts once."""
    sizes: dict[int, int] = {}
    for array in _arrays(holders):
        start = array.data_ptr() if isinstance(array, torch.Tensor) else array.__array_interface__["data"][0]
        sizes[start] = max(sizes.get(start, 0), array.nbytes)
    return sum(sizes.values())


def _arrays(holder: object) -> Iterator[np.ndarray | torch.Tensor]:
    if isinstance(holder, np.ndarray | torch.Tensor):
        yield holder
    elif isinstance(holder, tuple):
        for part in holder:
            yield from _arrays(part)
    elif is_dataclass(holder):
        for field in fields(holder):
            yield from _arrays(getattr(holder, field.name))


def measure_build(sizes: Sizes, repeats: int) -> list[Cell]:
    """Items, levels, CPU-s to build it and to make tensors of it, MB of it, with its tensors, and at most meanwhile."""
    ids = random_ids(sizes, seed=0)
    building, moving = [], []
    for _ in range(repeats):
        began = time.process_time()
        trie = Trie.of(ids)
        built = time.process_time()
        trie.on(torch.device("cpu"))
        building.append(built - began)
        moving.append(time.process_time() - built)
    trie = Trie.of(ids)
    memory = (array_bytes(trie), array_bytes(trie, trie.on(torch.device("cpu"))))
    tracemalloc.start()
    Trie.of(ids)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    megabytes = [size / _MB for size in (*memory, peak)]
    return [sizes.num_items, sizes.num_levels, median(building), median(moving), *megabytes]


@contextmanager
def clocked(decoder: DecoderModule) -> Iterator[Callable[[], dict[str, float]]]:
    """Split the CPU-seconds of a search between the decoder and what follows each of its steps.

    Gives a function that closes the account: seconds by ``decoder`` and by the depth whose step was the last before,
    and sets all back to 0.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    owner, since = _BESIDE, time.process_time()

    def switch(to: str) -> None:
        nonlocal owner, since
        now = time.process_time()
        spent[owner] += now - since
        owner, since = to, now

    begin, expand = decoder.begin, decoder.expand

    def timed_begin(*args: Any, **kwargs: Any) -> Any:
        switch(_BESIDE)
        return begin(*args, **kwargs)

    def timed_expand(state: Any, depth: int, *args: Any, **kwargs: Any) -> Any:
        switch(_BESIDE)
        found = expand(state, depth, *args, **kwargs)
        switch(str(depth))
        return found

    def close() -> dict[str, float]:
        switch(_BESIDE)
        found = dict(spent)
        spent.clear()
        return found

    decoder.begin, decoder.expand = timed_begin, timed_expand  # type: ignore[method-assign]
    try:
        yield close
    finally:
        del decoder.begin, decoder.expand


def measure_steps(sizes: Sizes, *, batch: int, beam_width: int, list_length: int, repeats: int) -> list[list[Cell]]:
    """A row for each step of one stream's beam search: CPU-ms outside the decoder per batch, share of the search."""
    retriever, tries = build_retriever(sizes)
    [(name, trie)] = tries.items()
    decoder = retriever.decoders[name]
    history_BT = torch.from_numpy(random_histories(sizes, batch).last(sizes.history, padding=sizes.num_items)[0])
    with torch.inference_mode():
        encoded = retriever.encode(history_BT)[name]

    rounds: list[dict[str, float]] = []
    with clocked(decoder) as close:
        for _ in range(1 + repeats):
            close()
            BeamSearch(beam_width).search(decoder, encoded, trie, SearchRules(list_length))
            rounds.append(close())
    steps = [str(depth) for depth in range(trie.num_levels)]
    if missing := set(steps) - set(rounds[-1]):
        raise RuntimeError(f"the search did not expand depth {', '.join(sorted(missing))}")
    rows: list[list[Cell]] = []
    for step in steps:
        own = median(found[step] for found in rounds[1:])
        share = median(found[step] / sum(found.values()) for found in rounds[1:])
        rows.append([sizes.num_items, sizes.num_levels, int(step) + 1, 1e3 * own / batch, f"{share:.1%}"])
    return rows


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000, help="of the large trie, three levels")
    parser.add_argument("--batch", type=int, default=64, help="users searched together")
    parser.add_argument("--beam-width", type=int, default=100)
    parser.add_argument("--list-length", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5, help="rounds after one to warm up; medians count")
    parser.add_argument("--output", type=Path, help="JSON file to keep the result in")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    say_load()
    conditions = read_conditions()
    large = Sizes(num_items=arguments.items, num_levels=3, num_streams=1)
    shapes = [Sizes(num_streams=1), Sizes(num_streams=1, num_levels=3), large]
    built = [measure_build(sizes, arguments.repeats) for sizes in shapes]
    steps: list[list[Cell]] = []
    for sizes in shapes:
        steps += measure_steps(
            sizes,
            batch=arguments.batch,
            beam_width=arguments.beam_width,
            list_length=arguments.list_length,
            repeats=arguments.repeats,
        )
    tables = [
        Table(
            "Building a trie of random codes, k = 256",
            [
                "items",
                "levels",
                "CPU-s to build",
                "CPU-s to tensors",
                "MB",
                "MB with tensors",
                "MB at most while built",
            ],
            built,
            "`MB with tensors`: with what a search reads, which shares memory with the trie where it can.",
        ),
        Table(
            f"A search's own work at each step, batch {arguments.batch}, beam {arguments.beam_width}",
            ["items", "levels", "step", "CPU-ms a user", "share of the search"],
            steps,
            "All that is not the decoder: children's numbers, sums, masks, top-k, after the last step the items.",
        ),
    ]
    give(Result("tries", tables, conditions), arguments.output)


if __name__ == "__main__":
    main()
