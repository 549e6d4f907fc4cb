"""What the page of a run shows beyond its report: codes of the streams, example users with images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.errors import DataError, ImageError
from genrec.evaluation.code_quality import measure_levels
from genrec.model.contracts import StreamContext
from genrec.reporting.report import Report
from genrec.reporting.texts import clipped
from genrec.runtime.seeds import derive
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, Candidates, Catalog, Dataset, Images, Ranking

if TYPE_CHECKING:
    from genrec.recipe.schema import Recipe

NUM_EXAMPLES = 10
"""Number of example users."""
_RECENT, _RECOMMENDED = 8, 10
"""Maximum number of items of an example user: of the history and of the recommendations."""
_LONGEST = 200
"""Maximum length of the name of an item or user."""
_THUMBNAIL = 96
"""Maximum width and height of a thumbnail, pixels."""


@dataclass(frozen=True)
class StreamCodes:
    """The codes of a stream."""

    stream: str
    tokenizer: str
    trie: Trie
    levels: Sequence[Mapping[str, Any]]
    """From :func:`~genrec.evaluation.code_quality.measure_levels`."""
    collisions: int
    """Items that shared their codes before repair."""


@dataclass(frozen=True)
class ShownItem:
    """An item of an example user."""

    name: str
    """Its title; its key if it has none."""
    thumbnail: str = ""
    """A JPEG, base64; empty without a readable image."""


@dataclass(frozen=True)
class RankedItem:
    """An item and where it was found."""

    item: ShownItem
    rank: int | None
    """In the list of the method, from 1; None if it is not in it."""
    stream_ranks: Mapping[str, int | None]
    """In the list of each stream, from 1; None if it is not in it."""
    is_target: bool
    is_seen: bool
    """Whether the history contains it."""


@dataclass(frozen=True)
class ExampleUser:
    """A test user with the recommendations of one method."""

    key: str
    history: Sequence[ShownItem]
    """The most recent items, oldest first."""
    history_length: int
    target: RankedItem
    recommended: Sequence[RankedItem]


@dataclass(frozen=True)
class RunDetails:
    """What the page of a run shows beyond its report."""

    codes: Sequence[StreamCodes]
    """Of the streams with a tokenizer."""
    without_codes: Sequence[str]
    """Names of the other streams."""
    item_names: Sequence[str]
    """Title of each item; its key if it has none."""
    purchases_I: np.ndarray
    """How often each item occurs in the training histories, int64 (I,)."""
    has_images: bool
    """Whether any item of the dataset has an image."""
    method: str
    """The method whose recommendations are shown."""
    list_length: int
    """Length of its lists."""
    examples: Sequence[ExampleUser]


def describe_run(
    dataset: Dataset,
    recipe: Recipe,
    streams: Mapping[str, StreamContext],
    found: Candidates,
    rankings: Mapping[str, tuple[object, Ranking]],
    report: Report,
) -> RunDetails:
    """Collect the details of a run.

    Args:
        dataset: the data that the model for test users was fitted on.
        recipe: of the run.
        streams: the streams of that model.
        found: candidates of the test users.
        rankings: lists of the test users, by method; those of the first one are shown.
        report: of the run.
    """
    catalog, split = dataset.catalog, dataset.test
    method, (_, ranking) = next(iter(rankings.items()))
    names = [clipped(title or key, _LONGEST) for title, key in zip(catalog.titles, catalog.keys, strict=True)]
    random = np.random.default_rng(derive(report.protocol.seed, "example users"))
    rows = np.sort(random.choice(len(split), min(NUM_EXAMPLES, len(split)), replace=False))
    shown = _shown_items(catalog, names, dataset, ranking, rows)
    return RunDetails(
        codes=[
            StreamCodes(name, tokenizer.type_name, context.trie, measure_levels(context.ids), context.ids.collisions)
            for name, context in streams.items()
            if (tokenizer := recipe.streams[name].tokenizer) is not None
        ],
        without_codes=[name for name in streams if recipe.streams[name].tokenizer is None],
        item_names=names,
        purchases_I=np.bincount(dataset.train.items, minlength=len(catalog)),
        has_images=_has_images(catalog),
        method=method,
        list_length=ranking.items_BN.shape[1],
        examples=[_example(dataset, found, ranking, shown, int(row)) for row in rows],
    )


def _has_images(catalog: Catalog) -> bool:
    return catalog.images is not None and bool(catalog.images.counts_I.any())


def _shown_items(
    catalog: Catalog, names: Sequence[str], dataset: Dataset, ranking: Ranking, rows: np.ndarray
) -> dict[int, ShownItem]:
    """All items of the example users by item number; every image is read once."""
    split = dataset.test
    histories = (split.histories[row][-_RECENT:].tolist() for row in rows)
    lists = ranking.items_BN[rows, :_RECOMMENDED].ravel().tolist()
    items = dict.fromkeys(chain(*histories, split.targets[rows].tolist(), lists))
    images = catalog.images
    return {
        item: ShownItem(names[int(item)], "" if images is None else _thumbnail(images, item))
        for item in items
        if item != ABSENT
    }


def _thumbnail(images: Images, item: int) -> str:
    """The first image of an item as a small JPEG in base64; empty if there is none or it cannot be read."""
    if not images.counts_I[item]:
        return ""
    try:
        image = images.open(item).convert("RGB")
    except (DataError, ImageError):  # the encoders that read it report it
        return ""
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _example(
    dataset: Dataset, found: Candidates, ranking: Ranking, shown: Mapping[int, ShownItem], row: int
) -> ExampleUser:
    split = dataset.test
    history, target = split.histories[row].tolist(), int(split.targets[row])
    ranked = [item for item in ranking.items_BN[row].tolist() if item != ABSENT]

    def place(item: int) -> RankedItem:
        columns = np.flatnonzero(found.items_BC[row] == item)
        ranks_S = found.ranks_BCS[row, columns[0]] if len(columns) else np.full(len(found.streams), ABSENT)
        return RankedItem(
            shown[item],
            ranked.index(item) + 1 if item in ranked else None,
            {
                name: None if rank == ABSENT else int(rank) + 1
                for name, rank in zip(found.streams, ranks_S, strict=True)
            },
            is_target=item == target,
            is_seen=item in history,
        )

    return ExampleUser(
        key=clipped(dataset.user_keys[split.users[row]], _LONGEST),
        history=[shown[item] for item in history[-_RECENT:]],
        history_length=len(history),
        target=place(target),
        recommended=[place(item) for item in ranked[:_RECOMMENDED]],
    )
