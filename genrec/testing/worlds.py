"""Tiny worlds: a catalog, histories, vectors and candidates with every awkward case in them, and a clockwork."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genrec.errors import DataError
from genrec.search.candidates import unite
from genrec.types import ABSENT, Candidates, Catalog, Column, Dataset, Histories, ItemVectors, StreamCandidates

if TYPE_CHECKING:
    from PIL.Image import Image

NUM_ITEMS = 24
STREAMS = ("behavior", "text", "visual")

_NOUNS = ("chair", "lamp", "table", "shelf", "rug", "clock")
_WORDS = ("oak", "steel", "wool", "glass", "round", "tall", "blue", "red")


class DrawnImages:
    """A square on a background; its color and size depend on the item.

    Item 0 has two images, the last item of the catalog none, every other one.
    """

    def __init__(self, num_items: int) -> None:
        self.counts_I = np.ones(num_items, dtype=np.int32)
        self.counts_I[0], self.counts_I[num_items - 1] = 2, 0
        """How many images item i has, int32 (I,)."""

    def open(self, item: int, number: int = 0) -> Image:
        """An image of an item, 32 x 32; the second one shows the square a little larger.

        Raises:
            DataError: the item has no such image.
        """
        from PIL import Image, ImageDraw

        if number >= self.counts_I[item]:
            raise DataError(f"item {item} has no image {number}")
        image = Image.new("RGB", (32, 32), (240, 240, 240))
        edge = 4 + item % 10 - number
        color = (37 * item % 256, 91 * item % 256, 151 * item % 256)
        ImageDraw.Draw(image).rectangle((edge, edge, 31 - edge, 31 - edge), fill=color)
        return image


def tiny_catalog(num_items: int = NUM_ITEMS) -> Catalog:
    """Items with titles, texts, attributes, images and columns; the last one has a key alone.

    Columns: ``price`` (numeric, missing for every fifth item), ``kind`` (categorical), ``since`` (datetime).
    """
    titles, texts, attributes = [], [], []
    for item in range(num_items):
        noun, first, second = _NOUNS[item % 6], _WORDS[item % 8], _WORDS[item // 3 % 8]
        titles.append(f"{first} {noun} {item}")
        texts.append(f"A {first} {noun} with {second} details, number {item}.")
        attributes.append((noun, first))
    titles[-1], texts[-1], attributes[-1] = "", "", ()
    keys = tuple(f"item-{item:02d}" for item in range(num_items))
    return Catalog(
        keys, tuple(titles), tuple(texts), tuple(attributes), DrawnImages(num_items), _tiny_columns(attributes)
    )


def _tiny_columns(attributes: Sequence[tuple[str, ...]]) -> dict[str, Column]:
    item_I = np.arange(len(attributes))
    price_I = np.where(item_I % 5 == 4, np.nan, 2.0 + 7 * item_I % 11)
    since_I = np.datetime64("2024-01-01", "s") + item_I * np.timedelta64(86_400, "s")
    price_I[-1], since_I[-1] = np.nan, np.datetime64("NaT")
    kind_I = np.fromiter((of_item[:1] for of_item in attributes), dtype=object)
    return {
        "price": Column("numeric", price_I),
        "kind": Column("categorical", kind_I),
        "since": Column("datetime", since_I),
    }


def tiny_histories(num_items: int = NUM_ITEMS, num_users: int = 16, *, seed: int = 0) -> Histories:
    """Histories of 1 to 9 items, the first of length 1; repeats occur, and the last item occurs in none."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 10, num_users)
    lengths[0] = 1
    return Histories.of([generator.integers(0, max(num_items - 1, 1), length) for length in lengths])


def tiny_dataset(num_users: int = 16, *, seed: int = 0) -> Dataset:
    """The tiny catalog and tiny histories, with times and with the last two items of each as validation and test.

    The later a user is numbered, the later the user begins; the times of different users overlap.
    """
    histories = tiny_histories(num_users=num_users, seed=seed)
    generator = np.random.default_rng(seed)
    first_U = 1_400_000_000 + 86_400 * np.sort(generator.integers(0, 200, num_users))
    place_N = np.arange(len(histories.items)) - histories.offsets[:-1][histories.users]
    from_end_N = (histories.lengths[histories.users] - place_N).astype(np.int8)
    return Dataset(
        name="tiny",
        catalog=tiny_catalog(),
        user_keys=tuple(f"user-{user}" for user in range(num_users)),
        histories=histories,
        fingerprint=f"tiny-{num_users}-{seed}",
        times=first_U[histories.users] + 86_400 * 20 * place_N,
        parts=np.maximum(3 - from_end_N, 0),
    )


def tiny_vectors(
    num_items: int = NUM_ITEMS, width: int = 8, *, absent: tuple[int, ...] = (3, NUM_ITEMS - 1), seed: int = 0
) -> ItemVectors:
    """Vectors of items in four groups; those of ``absent`` items are zero."""
    generator = np.random.default_rng(seed)
    centers = 3 * generator.normal(size=(4, width))
    vectors_IE = (centers[np.arange(num_items) % 4] + generator.normal(size=(num_items, width))).astype(np.float32)
    present_I = ~np.isin(np.arange(num_items), absent)
    vectors_IE[~present_I] = 0
    return ItemVectors(vectors_IE, present_I)


def tiny_candidates(
    streams: tuple[str, ...] = STREAMS,
    *,
    num_items: int = NUM_ITEMS,
    list_length: int = 6,
    with_scores: bool = False,
    seed: int = 0,
) -> Candidates:
    """Candidates of six users, as from a search.

    For user 1 every list ends early, for user 2 only the last stream found anything, for user 3 no stream did, and
    for user 4 all streams found the same items. In the last of several streams item 3 has no code.

    Args:
        streams: names.
        num_items: size of the catalog, at least 2 ``list_length``.
        list_length: of each stream.
        with_scores: exact log-probabilities everywhere, as for a merge that ``needs_scores``.
        seed: of the log-probabilities.
    """
    generator = np.random.default_rng(seed)
    log_probs_SBI = 2 * generator.normal(size=(len(streams), 6, num_items))
    log_probs_SBI[:, 4] = log_probs_SBI[0, 4]
    if len(streams) > 1:
        log_probs_SBI[len(streams) - 1, :, 3] = -np.inf
    log_probs_SBI -= np.log(np.exp(log_probs_SBI).sum(axis=2, keepdims=True))
    scores = {name: log_probs_SBI[number].astype(np.float32) for number, name in enumerate(streams)}
    lists = {}
    last = len(streams) - 1
    for number, name in enumerate(streams):
        items_BN = np.argsort(-scores[name], axis=1, kind="stable")[:, :list_length].astype(np.int64)
        items_BN[1, 2:] = ABSENT
        items_BN[2 if number < last else 3] = ABSENT
        items_BN[3] = ABSENT
        found_BN = np.take_along_axis(scores[name], np.maximum(items_BN, 0), axis=1)
        lists[name] = StreamCandidates(items_BN, np.where(items_BN == ABSENT, np.float32(-np.inf), found_BN))

    def score(name: str, items_BC: np.ndarray) -> np.ndarray:
        return np.take_along_axis(scores[name], np.maximum(items_BC, 0), axis=1)

    code_lengths = {name: 2 + number for number, name in enumerate(streams)}
    return unite(lists, code_lengths, scores=score if with_scores else None)


@dataclass(frozen=True)
class Clockwork:
    """A world in which the next item is certain, yet all items are equally popular."""

    dataset: Dataset
    vectors: Mapping[str, ItemVectors]
    """Item vectors of two streams: ``behavior``, where an item is near its successor, and ``text``, which
    is independent of the order."""
    successor_I: np.ndarray
    """The item that follows each item, always, int64 (I,)."""


def clockwork(num_items: int = 40, history_length: int = 8, *, rounds: int = 1, seed: int = 0) -> Clockwork:
    """Create a clockwork: the items form a hidden circle, and every user follows it.

    Users start at every item ``rounds`` times and take the same number of steps, so every item occurs equally often in
    the training histories, at each position, and as a target: popularity is uninformative. No item repeats for a user.

    Args:
        num_items: items on the circle.
        history_length: items of each user, the validation and the test item included; at most ``num_items``.
        rounds: users that start at each item.
        seed: of the circle and the vectors.

    Raises:
        ValueError: a user would have fewer than four items, or one twice.
    """
    if not 4 <= history_length <= num_items:
        raise ValueError(f"history_length is {history_length}, expected 4 to {num_items} (the number of items)")
    generator = np.random.default_rng(seed)
    circle = generator.permutation(num_items)
    successor_I = np.empty(num_items, dtype=np.int64)
    successor_I[circle] = np.roll(circle, -1)
    starts = np.tile(generator.permutation(num_items), rounds)
    walks = circle[(starts[:, None] + np.arange(history_length)) % num_items]
    place_I = np.argsort(circle)
    angle_I1 = 2 * np.pi * place_I[:, None] / num_items
    waves = np.arange(1, 5)
    behavior_IE = np.concatenate([np.cos(angle_I1 * waves), np.sin(angle_I1 * waves)], axis=1) / np.tile(waves, 2)
    text_IE = generator.normal(size=(num_items, 8))
    present_I = np.ones(num_items, dtype=bool)
    names = tuple(f"cog {item}" for item in range(num_items))
    catalog = Catalog(tuple(f"cog-{item}" for item in range(num_items)), names, names, ((),) * num_items)
    dataset = Dataset(
        name="clockwork",
        catalog=catalog,
        user_keys=tuple(f"walker-{user}" for user in range(len(walks))),
        histories=Histories.of(list(walks)),
        fingerprint=f"clockwork-{num_items}-{history_length}-{rounds}-{seed}",
    )
    vectors = {
        "behavior": ItemVectors(behavior_IE.astype(np.float32), present_I),
        "text": ItemVectors(text_IE.astype(np.float32), present_I.copy()),
    }
    return Clockwork(dataset, vectors, successor_I)
