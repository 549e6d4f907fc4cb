"""What recommending costs a user: `Recommender.recommend` on a finished run, and the parts of it.

``python benchmarks/recommender.py RUN --data DIR [--output FILE]``. Test users of the run's dataset, in batches of
histories of their real lengths; one thread, CPU-seconds, all parts in turn, medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _results import Cell, Result, Table, give, read_conditions, say_load

from genrec.runtime.float32_products import by_onednn
from genrec.runtime.malloc import disable_malloc_trim
from genrec.search.candidates import unite
from genrec.search.method import SearchRules
from genrec.search.methods import METHODS
from genrec.search.scores import score_items
from genrec.serving.recommender import Recommender
from genrec.throughput.timing import counted_flops
from genrec.types import ABSENT, Histories, StreamCandidates

COLUMNS = ("part", "CPU ms per user", "MFLOP per user", "users per CPU-second")


def parts_of(
    recommender: Recommender, histories: Histories, batch_size: int, k: int
) -> dict[str, Callable[[], object]]:
    """By name, the work of each part for all users; the last three are whole calls."""
    names, model, search = recommender.keys, recommender.model, recommender.recipe.search
    needs_scores = recommender.recipe.merge.needs_scores
    method = METHODS[search.method].of(search)
    starts = range(0, len(histories), batch_size)
    batches = [histories.take(np.arange(start, min(start + batch_size, len(histories)))) for start in starts]
    texts = [[[names[item] for item in batch[user]] for user in range(len(batch))] for batch in batches]
    longest = [int(batch.lengths.max()) for batch in batches]
    history_of = [
        torch.from_numpy(batch.last(min(recommender.recipe.max_history, width), padding=len(names))[0])
        for batch, width in zip(batches, longest, strict=True)
    ]
    rules = [
        SearchRules(search.list_length, batch.last(width, padding=ABSENT)[0])
        for batch, width in zip(batches, longest, strict=True)
    ]
    encoded = [model.encode(history_BT, to_search=True) for history_BT in history_of]

    def search_stream(name: str) -> None:
        for of_batch, of_users in zip(encoded, rules, strict=True):
            method.search(model.decoders[name], of_batch[name], recommender.tries[name], of_users)

    found = [
        {name: method.search(model.decoders[name], e[name], trie, r) for name, trie in recommender.tries.items()}
        for e, r in zip(encoded, rules, strict=True)
    ]

    def united() -> None:
        for of_batch, of_streams in zip(encoded, found, strict=True):
            lists = {
                name: StreamCandidates(f.items_BN.numpy(), f.log_probs_BN.numpy()) for name, f in of_streams.items()
            }
            lengths = {name: trie.num_levels for name, trie in recommender.tries.items()}

            def score(name: str, items_BC: np.ndarray) -> np.ndarray:
                decoder, trie = model.decoders[name], recommender.tries[name]
                items = torch.from_numpy(items_BC)
                return score_items(decoder, of_batch[name], trie, items, of_streams[name]).numpy()  # noqa: B023

            unite(lists, lengths, scores=score if needs_scores else None)

    def whole(*, explain: bool, as_objects: bool = False) -> None:
        for batch in texts:
            given = recommender.recommend(batch, k=k, explain=explain)
            if as_objects:
                list(given)

    streams = {f"stream {name} searched": partial(search_stream, name) for name in recommender.tries}
    return {
        "histories encoded": lambda: [model.encode(history_BT, to_search=True) for history_BT in history_of],
        **streams,
        "candidates united and scored": united,
        "recommend": partial(whole, explain=True),
        "recommend, explain=False": partial(whole, explain=False),
        "recommend, all items as objects": partial(whole, explain=True, as_objects=True),
    }


def measure(parts: dict[str, Callable[[], object]], num_users: int, repeats: int) -> list[list[Cell]]:
    """A row for each part (:data:`COLUMNS`)."""
    flops = {}
    for name, part in parts.items():
        with counted_flops() as counted:
            part()
        flops[name] = counted()
    spent: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            began = time.process_time()
            part()
            spent[name].append(time.process_time() - began)
    return [
        [
            name,
            1e3 * median(seconds) / num_users,
            "" if flops[name] is None else flops[name] / num_users / 1e6,
            num_users / median(seconds),
        ]
        for name, seconds in spent.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--data", type=Path, help="folder of its dataset, as for genrec run")
    parser.add_argument("--users", type=int, default=512, help="random test users")
    parser.add_argument("--batch-size", type=int, default=64, help="histories of a call")
    parser.add_argument("--k", type=int, default=10, help="items of a list")
    parser.add_argument("--repeats", type=int, default=7, help="rounds; medians count")
    parser.add_argument("--output", type=Path, help="JSON file to keep the result in")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    disable_malloc_trim()
    say_load()
    conditions = read_conditions()
    recommender = Recommender(asked.run)
    users = recommender.recipe.dataset.load(asked.data).test.sample(asked.users, 0)
    with torch.inference_mode(), by_onednn():
        rows = measure(parts_of(recommender, users.histories, asked.batch_size, asked.k), len(users), asked.repeats)
    title = f"{recommender.recipe.title}: {len(users)} test users, batches of {asked.batch_size}, k = {asked.k}"
    give(Result("recommender", [Table(title, COLUMNS, rows)], conditions), asked.output)


if __name__ == "__main__":
    main()
