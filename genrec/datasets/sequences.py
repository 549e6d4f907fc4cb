"""The format of S3-Rec and P5: a line ``user item item ...`` for each user, oldest first, and ``items.jsonl``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from genrec.datasets._columns import categorical, filled, numeric
from genrec.datasets.readers.descriptions import Entry, coverage, describe, leaf_categories, read_entries, title, words
from genrec.datasets.readers.findings import texts_of, unmatched
from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.folder import RelativePath, find, require
from genrec.datasets.readers.image_files import ImageFiles
from genrec.datasets.readers.notes import repeats
from genrec.errors import DataError
from genrec.families import DatasetSource, datasets
from genrec.formats.finding import Finding
from genrec.formats.json_text import JsonError, parse_json
from genrec.formats.text import decode, numbered_lines, shown
from genrec.types import Catalog, Dataset, Histories

_LINE = re.compile(r"\S+(?:\s+[0-9]{1,18})+")
_SOURCE = "the authors of S3-Rec publish Beauty, Sports_and_Outdoors, Toys_and_Games and Yelp in this format"


@datasets.register("sequences")
class Sequences(DatasetSource):
    """Ready-made histories of S3-Rec, P5, TIGER and EAGER: sequences.txt, items.jsonl, item2attributes.json.

    Items are numbered in the numeric order of the source's ids. An item without a line in ``items.jsonl`` has an
    empty text. Columns: price, year, brand, category, as far as ``items.jsonl`` has them.
    """

    folder: RelativePath = "amazon-beauty"
    """Folder inside ``--data`` that holds the files."""
    sequences_file: RelativePath = "sequences.txt"
    """A user a line: ``user item item ...``, oldest first; items are whole numbers, users are any words."""
    items_file: RelativePath | None = "items.jsonl"
    """A JSON object an item: ``item_id`` and any of title, brand, categories, image (a path
    inside the folder, or a list of them), ...; null without metadata."""
    attributes_file: RelativePath = "item2attributes.json"
    """Attribute ids of each item, read only if the file exists and no item has categories."""
    text_fields: tuple[str, ...] = (
        "title",
        "brand",
        "categories",
        "keywords",
        "description",
        "director",
        "actors",
        "tags",
    )
    """What the text of an item consists of, in this order; fields that an item lacks are left out."""
    unused_items: Literal["drop", "keep"] = "drop"
    """What happens to items of ``items_file`` that occur in no history."""

    def load(self, data: Path | None) -> Dataset:
        """Read the files; see :meth:`DatasetSource.load`."""
        folder = find(data, self.folder)
        fingerprint = Fingerprint(self.block())
        path = require(folder, self.sequences_file, "the histories, a line 'user item item ...' for each user", _SOURCE)
        users, sources, lengths = _read_sequences(path, fingerprint.read(path))
        seen = np.unique(sources)
        entries: Mapping[int, Entry] = {}
        findings: list[Finding] = []
        if self.items_file is not None:
            path = require(
                folder,
                self.items_file,
                "titles, categories and the like, a JSON object with 'item_id' for each item",
                "make it from the source's metadata, or set items_file: null to run without texts",
            )
            entries, findings = read_entries(path, fingerprint.read(path))
            others = {str(item) for item in entries}
            keys = list(map(str, seen.tolist()))
            findings += unmatched(keys, len(others.intersection(keys)), others, path)
        unused = sorted(set(entries).difference(seen.tolist()))
        ids = np.union1d(seen, np.array(unused, dtype=np.int64)) if self.unused_items == "keep" else seen
        metadata = [entries.get(item, {}) for item in ids.tolist()]
        images = ImageFiles(folder, [words(entry.get("image")) for entry in metadata])
        images.add_to(fingerprint)
        catalog = Catalog(
            keys=tuple(map(str, ids.tolist())),
            titles=tuple(map(title, metadata)),
            texts=tuple(describe(entry, self.text_fields) for entry in metadata),
            attributes=self._attributes(folder, ids, metadata, fingerprint),
            images=images if images.counts_I.any() else None,
            columns=filled(
                {
                    "price": numeric(entry.get("price") for entry in metadata),
                    "year": numeric(entry.get("year") for entry in metadata),
                    "brand": categorical(entry.get("brand") for entry in metadata),
                    "category": categorical(entry.get("categories") for entry in metadata),
                }
            ),
        )
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        histories = Histories(np.searchsorted(ids, sources).astype(np.int32), offsets)
        notes = repeats(histories)
        if self.items_file is not None:
            notes += [*texts_of(findings), *self._notes(metadata, unused, images)]
        return Dataset(
            name=folder.resolve().name,
            catalog=catalog,
            user_keys=tuple(users),
            histories=histories,
            fingerprint=fingerprint.hexdigest(),
            notes=tuple(notes),
            findings=tuple(findings),
        )

    def _attributes(
        self, folder: Path, ids: np.ndarray, metadata: list[Entry], fingerprint: Fingerprint
    ) -> tuple[tuple[str, ...], ...]:
        leaves = [leaf_categories(entry.get("categories")) for entry in metadata]
        path = folder / self.attributes_file
        if not any(leaves) and path.is_file():
            numbers = _read_attributes(path, fingerprint.read(path))
            leaves = [[f"attribute:{number}" for number in numbers.get(str(item), ())] for item in ids.tolist()]
        return tuple(
            tuple(dict.fromkeys([*leaf, *words(entry.get("brand"))]))
            for leaf, entry in zip(leaves, metadata, strict=True)
        )

    def _notes(self, metadata: list[Entry], unused: list[int], images: ImageFiles) -> list[str]:
        notes = []
        if fields := coverage(metadata, self.text_fields):
            notes.append(f"share of items with each text field: {fields}")
        if silent := sum(not entry for entry in metadata):
            notes.append(f"{silent} items have no metadata in {self.items_file}; their text is empty")
        if unused:
            fate = "left out of" if self.unused_items == "drop" else "kept in"
            notes.append(f"{len(unused)} items of {self.items_file} are in no history and are {fate} the catalog")
        if lost := sum(len(words(entry.get("image"))) for entry in metadata) - int(images.counts_I.sum()):
            notes.append(f"{lost} images named in {self.items_file} are missing")
        return notes


def _read_sequences(path: Path, content: bytes) -> tuple[list[str], np.ndarray, list[int]]:
    """Users, the source's item ids end to end (int64), and how many each user has."""
    lines_of: dict[str, int] = {}
    items: list[list[str]] = []
    for number, line in numbered_lines(path, content):
        user, *rest = line.split()
        if not _LINE.fullmatch(line):
            wrong = next((word for word in rest if not re.fullmatch(r"\d{1,18}", word, re.ASCII)), None)
            found = f"user {shown(user)} has no items" if wrong is None else f"{shown(wrong)} is not an item number"
            raise DataError(f"{path}:{number}: {found}; expected 'user item item ...' with whole numbers as items")
        if user in lines_of:
            raise DataError(f"{path}:{number}: user {user!r} was on line {lines_of[user]}; every user has one line")
        lines_of[user] = number
        items.append(rest)
    sources = np.fromiter(map(int, chain.from_iterable(items)), dtype=np.int64)
    return list(lines_of), sources, [len(rest) for rest in items]


def _read_attributes(path: Path, content: bytes) -> dict[str, list[int]]:
    twice: list[str] = []
    try:
        found = parse_json(decode(path, content), twice.append)
    except JsonError as error:
        raise DataError(f"{path}:{error.line}: not valid JSON ({error}); expected one object") from None
    if twice:
        raise DataError(f"{path}: the key {twice[0]!r} occurs twice; expected one list for each item")
    if not isinstance(found, dict) or not all(isinstance(numbers, list) for numbers in found.values()):
        raise DataError(f'{path}:1: expected one JSON object such as {{"1": [4, 5]}}: item id -> attribute ids')
    return found
