"""What exact lists cost: ``beam``, ``bound`` and ``exact`` on a finished run, and how far their lists agree.

``python benchmarks/exact_search.py RUN --data DIR [--output FILE]``. The run's weights and some of its test users, one
stream at a time, in the search's usual batches; one thread, CPU-seconds, the methods alternate.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import torch
from _clock import in_own_process, take_turns
from _models import lists_of, search
from _results import Cell, Result, Table, give, read_conditions, say_load

from genrec.search.settings import SearchSettings
from genrec.serving.recommender import Recommender
from genrec.types import Candidates, Histories

METHODS = ("beam", "bound", "exact")
COLUMNS = (
    "list",
    "stream",
    *METHODS,
    "prefixes that bound expanded",
    "beam found",
    "beam, in place",
    "bound found",
    "bound, in place",
)


def agreement(lists: Sequence[Sequence[int]], exact: Sequence[Sequence[int]]) -> tuple[float, float]:
    """The share of the exact lists' items that the others hold, and that they hold in the same place."""
    total = sum(map(len, exact))
    found = sum(len(set(mine) & set(theirs)) for mine, theirs in zip(lists, exact, strict=True))
    pairs = (pair for mine, theirs in zip(lists, exact, strict=True) for pair in zip(mine, theirs, strict=False))
    places = sum(mine == theirs for mine, theirs in pairs)
    return found / total, places / total


def lists_and_prefixes(search: Callable[..., Candidates]) -> tuple[list[list[list[int]]], float]:
    """The lists of each method, and how many prefixes ``bound`` expanded for a user."""
    prefixes: dict[str, dict[str, float]] = {method: {} for method in METHODS}
    lists = [lists_of(search(method=method, on_expanded=prefixes[method].update), 0) for method in METHODS]
    return lists, sum(prefixes["bound"].values())


def compare(
    recommender: Recommender, histories: Histories, list_lengths: Sequence[int], *, beam_width: int, repeats: int
) -> list[list[Cell]]:
    """A row for each list length and stream (:data:`COLUMNS`)."""
    rows: list[list[Cell]] = []
    for length, (stream, trie) in product(list_lengths, recommender.tries.items()):
        search_lists = partial(
            search,
            recommender.model,
            {stream: trie},
            histories,
            beam_width=beam_width,
            list_length=length,
            batch_size=SearchSettings().batch_size,
        )
        (beam, bound, exact), prefixes = in_own_process(partial(lists_and_prefixes, search_lists))
        seconds = take_turns({method: partial(search_lists, method=method) for method in METHODS}, repeats)
        speeds = [len(histories) / seconds[method] for method in METHODS]
        shares = [f"{share:.4f}" for lists in (beam, bound) for share in agreement(lists, exact)]
        rows.append([length, stream, *speeds, prefixes, *shares])
    return rows


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--data", type=Path, help="folder of its dataset, as for genrec run")
    parser.add_argument("--users", type=int, default=256, help="random test users")
    parser.add_argument("--list-lengths", nargs="+", type=int, default=[5, 10, 20, 50])
    parser.add_argument("--beam-width", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; medians count")
    parser.add_argument("--output", type=Path, help="JSON file to keep the result in")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    say_load()
    conditions = read_conditions()
    recommender = Recommender(arguments.run)
    users = recommender.recipe.dataset.load(arguments.data).test.sample(arguments.users, 0)
    rows = compare(
        recommender,
        users.histories,
        arguments.list_lengths,
        beam_width=arguments.beam_width,
        repeats=arguments.repeats,
    )
    title = f"{recommender.recipe.title}: users per CPU-second, one stream, {len(users)} test users"
    note = (
        f"`beam` is of width {arguments.beam_width}; under `beam` and `bound` lists stop early. `found`: shares of the "
        "exact lists' items, and of those that stand where `exact` has them, which scores every item."
    )
    give(Result("exact_search", [Table(title, COLUMNS, rows, note)], conditions), arguments.output)


if __name__ == "__main__":
    main()
