"""The hash of a dataset's content: the files and the settings of the reader."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from genrec.runtime.progress import log_detail
from genrec.types import Catalog

if TYPE_CHECKING:
    from genrec.datasets.readers.interactions import Ordered


class Fingerprint:
    """Collects named contents, in order, into one blake2b hash."""

    def __init__(self, block: Mapping[str, Any]) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.add("block", json.dumps(block, sort_keys=True).encode())

    def add(self, name: str, content: bytes) -> None:
        """Add a content under its name."""
        for part in (name.encode(), content):
            self._hash.update(len(part).to_bytes(8, "big"))  # lengths keep "ab" + "c" apart from "a" + "bc"
            self._hash.update(part)

    def read(self, path: Path) -> bytes:
        """Read a file whole and add it."""
        log_detail(f"reads {path}")
        content = path.read_bytes()
        self.add(path.name, content)
        return content

    def add_file(self, path: Path) -> None:
        """Add the content of a file without holding it in memory."""
        log_detail(f"reads {path}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        self.add(path.name, digest.digest())

    def hexdigest(self) -> str:
        """The hash of all that was added, 32 hexadecimal digits."""
        return self._hash.hexdigest()


class Fingerprinted(Protocol):
    """What adds its own content to a fingerprint."""

    def add_to(self, fingerprint: Fingerprint) -> None: ...


def content_fingerprint(
    block: Mapping[str, Any], ordered: Ordered, catalog: Catalog, images: Fingerprinted | None
) -> str:
    """Hash of the parsed content of files that are too large to be read twice.

    Args:
        block: the settings of the reader.
        ordered: the histories.
        catalog: the items.
        images: by name and size; None where there are none.
    """
    fingerprint = Fingerprint(block)
    metadata = (ordered.user_keys, catalog.keys, catalog.titles, catalog.texts, catalog.attributes)
    fingerprint.add("metadata", json.dumps(metadata).encode())
    for name, column in catalog.columns.items():
        is_text = column.kind == "categorical"
        content = json.dumps(column.values_I.tolist()).encode() if is_text else column.values_I.tobytes()
        fingerprint.add(f"{column.kind} column {name}", content)
    for array in (ordered.histories.items, ordered.histories.offsets, ordered.times):
        fingerprint.add("numbers", b"" if array is None else np.ascontiguousarray(array).tobytes())
    if images is not None:
        images.add_to(fingerprint)
    return fingerprint.hexdigest()
