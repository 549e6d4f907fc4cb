"""``lists.safetensors`` of a run: the lists of each method, for metrics beyond accuracy without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from genrec.errors import DataError
from genrec.evaluation.top_lists import ItemFacts, TopLists
from genrec.runtime.checksums import is_export, verify
from genrec.runtime.files import replacing
from genrec.types import ItemVectors

FILE = "lists.safetensors"
MAX_USERS = 100_000
"""Lists of more users are not stored, but those of a random sample of this size."""
_LISTS, _SEEN = "lists/", "seen/"


@dataclass(frozen=True, eq=False)
class ListFile:
    """The lists of all methods of one run."""

    rows: np.ndarray
    """The stored evaluation users, as rows of the rank file, ascending, int64 (M,)."""
    counts_I: np.ndarray
    """How often each item occurs in the training histories, int64 (I,)."""
    items: Mapping[str, np.ndarray]
    """By method: item numbers, best first, integers (M, N); ABSENT where a list ends early."""
    is_seen: Mapping[str, np.ndarray]
    """By method: whether the item is in the user's history, bool (M, N)."""

    @classmethod
    def of(cls, lists: Mapping[str, TopLists]) -> ListFile:
        """The file of the lists of one or more methods, all of the same users."""
        first = next(iter(lists.values()))
        rows = np.arange(len(first), dtype=np.int64)
        if len(rows) > MAX_USERS:
            rows = np.sort(np.random.default_rng(0).choice(rows, MAX_USERS, replace=False))
        dtype = np.int16 if first.num_items <= np.iinfo(np.int16).max else np.int32
        items = {name: of_method.items_UK[rows].astype(dtype) for name, of_method in lists.items()}
        is_seen = {name: of_method.is_seen_UK[rows] for name, of_method in lists.items()}
        return cls(rows, first.facts.counts_I, items, is_seen)

    def write(self, folder: Path) -> Path:
        """Write the file into a run's folder."""
        tensors = {"rows": self.rows, "counts": self.counts_I}
        for name, items_MN in self.items.items():
            tensors[_LISTS + name] = items_MN
            tensors[_SEEN + name] = np.packbits(self.is_seen[name], axis=1)
        # safetensors writes the memory as it is: a view or a transposed array would be read scrambled.
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        with replacing(folder / FILE) as partial:
            save_file(tensors, partial)
        return folder / FILE

    @classmethod
    def read(cls, folder: Path) -> ListFile:
        """Read the file of a finished run.

        Raises:
            DataError: the folder has no such file, or it is damaged.
        """
        file = folder / FILE
        if not file.is_file():
            if is_export(folder):
                raise DataError(f"{folder}: an export has no data of users, expected the folder of the finished run")
            raise DataError(
                f"{file} is missing: expected the folder of a finished run whose recipe has metrics under "
                "evaluation.beyond_accuracy; run the recipe again"
            )
        try:
            with safe_open(verify(file), framework="numpy") as tensors:
                names = [key.removeprefix(_LISTS) for key in tensors.keys() if key.startswith(_LISTS)]  # noqa: SIM118
                items = {name: tensors.get_tensor(_LISTS + name) for name in names}
                counts_I, rows = tensors.get_tensor("counts"), tensors.get_tensor("rows")
                is_seen = {
                    name: np.unpackbits(tensors.get_tensor(_SEEN + name), axis=1, count=items[name].shape[1]) > 0
                    for name in names
                }
            for name in names:
                if items[name].shape != is_seen[name].shape or len(items[name]) != len(rows):
                    raise ValueError(f"lists and rows of {name!r} differ in shape")
                if items[name].size and not -1 <= items[name].min() <= items[name].max() < len(counts_I):
                    raise ValueError(f"a list of {name!r} has an item that is not in the catalog")
            return cls(rows, counts_I, items, is_seen)
        except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
            raise DataError(f"{file} cannot be read ({error}): expected lists of a genrec run; run again") from error

    @property
    def list_length(self) -> int:
        """Length of the lists, the largest possible cutoff."""
        return min((items_MN.shape[1] for items_MN in self.items.values()), default=0)

    def of_method(self, name: str, where: Path, vectors: ItemVectors | None = None) -> TopLists:
        """The lists of one method.

        Args:
            name: of the method.
            where: the folder, for errors.
            vectors: the item vectors in which distances are measured.

        Raises:
            DataError: the run has no lists of such a method, or the vectors are those of other items.
        """
        if name not in self.items:
            raise DataError(f"{where / FILE}: no lists of {name!r}; expected one of {', '.join(sorted(self.items))}")
        if vectors is not None and len(vectors.present_I) != len(self.counts_I):
            raise DataError(
                f"{where / FILE}: lists of {len(self.counts_I):,} items, and vectors of {len(vectors.present_I):,}"
            )
        return TopLists(self.items[name].astype(np.int64), self.is_seen[name], ItemFacts(self.counts_I, vectors))
