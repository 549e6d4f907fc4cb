"""``ranks.safetensors`` of a run: the rank of each user's target by method, for paired tests between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from genrec.errors import DataError
from genrec.evaluation.metrics import METRICS
from genrec.evaluation.significance import Difference, paired_difference
from genrec.runtime.checksums import is_export, verify
from genrec.runtime.files import replacing

FILE = "ranks.safetensors"
_PREFIX = "ranks/"


@dataclass(frozen=True)
class RankFile:
    """The ranks of all methods of one run."""

    users: np.ndarray
    """Row of each evaluation user in the dataset, int64 (U,)."""
    targets: np.ndarray
    """The target items, int64 (U,); with several targets per user all of them, user by user."""
    ranks: Mapping[str, np.ndarray]
    """By method: rank of the target, int32 (U,), from 0; ABSENT if it is not in the list."""
    list_length: int
    """Length of the lists, the largest possible cutoff."""
    target_offsets: np.ndarray | None = None
    """User u has the targets offsets[u] to offsets[u + 1], int64 (U + 1,); None: each user has one."""

    def write(self, folder: Path) -> Path:
        """Write the file into a run's folder."""
        tensors: dict[str, np.ndarray] = {"users": self.users, "targets": self.targets}
        if self.target_offsets is not None:
            tensors["target_offsets"] = self.target_offsets
        tensors |= {_PREFIX + name: ranks_U for name, ranks_U in self.ranks.items()}
        # safetensors writes the memory as it is: a view or a transposed array would be read scrambled.
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        with replacing(folder / FILE) as partial:
            save_file(tensors, partial, metadata={"list_length": str(self.list_length)})
        return folder / FILE

    @classmethod
    def read(cls, folder: Path) -> RankFile:
        """Read the file of a finished run.

        Raises:
            DataError: the folder has no finished run, or the file is damaged.
        """
        file = folder / FILE
        if not file.is_file():
            if is_export(folder):
                raise DataError(f"{folder}: an export has no data of users, expected the folder of the finished run")
            raise DataError(
                f"{file} is missing: expected the folder of a finished run; run the recipe to its end first"
            )
        try:
            with safe_open(verify(file), framework="numpy") as tensors:
                length = int((tensors.metadata() or {})["list_length"])
                names = [key for key in tensors.keys() if key.startswith(_PREFIX)]  # noqa: SIM118 (not a mapping)
                ranks = {key.removeprefix(_PREFIX): tensors.get_tensor(key) for key in names}
                offsets = tensors.get_tensor("target_offsets") if "target_offsets" in tensors.keys() else None  # noqa: SIM118
                users, targets = tensors.get_tensor("users"), tensors.get_tensor("targets")
                if offsets is not None and (len(offsets) != len(users) + 1 or offsets[-1] != len(targets)):
                    raise ValueError("the targets are not those of the users")
                return cls(users, targets, ranks, length, offsets)
        except (SafetensorError, KeyError, ValueError) as error:
            raise DataError(f"{file} cannot be read ({error}): expected a rank file of genrec; run again") from error

    def of_method(self, name: str, where: Path) -> np.ndarray:
        """The ranks of one method, int32 (U,).

        Raises:
            DataError: the run has no such method.
        """
        if name not in self.ranks:
            raise DataError(f"{where / FILE}: unknown method {name!r}; expected one of {', '.join(sorted(self.ranks))}")
        return self.ranks[name]


def paired(
    first: Path,
    second: Path,
    method: str,
    other: str | None = None,
    *,
    metric: str = "ndcg",
    cutoff: int = 10,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Test a method of one finished run against a method of another, user by user.

    Args:
        first: folder of a run.
        second: folder of the other run.
        method: name in the first run.
        other: name in the second run; default: the same name.
        metric: the name of any metric.
        cutoff: the K.
        confidence: coverage of the interval of the difference, first minus second.
        seed: of the resamples.

    Raises:
        PluginError: unknown metric.
        DataError: a run is not finished, lacks the method or has shorter lists than the cutoff, or the two runs have
            different users or targets.
    """
    one, two = RankFile.read(first), RankFile.read(second)
    for run, where in ((one, first), (two, second)):
        if run.list_length < cutoff:
            raise DataError(f"{where / FILE}: lists of {run.list_length} items are shorter than the cutoff {cutoff}")
    if not np.array_equal(one.users, two.users):
        raise DataError(
            f"{first} and {second} have different evaluation users ({len(one.users)} and {len(two.users)}): "
            "only runs on the same dataset and split can be compared in pairs"
        )
    offsets = [
        np.arange(len(run.users) + 1) if run.target_offsets is None else run.target_offsets for run in (one, two)
    ]
    if not np.array_equal(offsets[0], offsets[1]):
        raise DataError(
            f"{first} and {second} have other numbers of targets: only runs on the same dataset and split can be "
            "compared in pairs"
        )
    if not np.array_equal(one.targets, two.targets):
        count = int(np.count_nonzero(one.targets != two.targets))
        raise DataError(
            f"{first} and {second} have different targets for {count} of {len(one.users)} users: "
            "only runs on the same dataset and split can be compared in pairs"
        )
    measure = METRICS.get(metric)
    return paired_difference(
        measure(one.of_method(method, first), cutoff, one.target_offsets),
        measure(two.of_method(other or method, second), cutoff, two.target_offsets),
        confidence=confidence,
        seed=seed,
    )
