"""Finished parts of a batch beside its output, and the output that is put together from them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from glob import escape
from pathlib import Path
from typing import Any

import polars as pl

from genrec.errors import DataError, GenrecError, StorageError
from genrec.runtime.checksums import checksum, is_intact, seal
from genrec.runtime.files import PARTIAL, is_abandoned, read_json, reason, replacing, write_json
from genrec.runtime.folder_lock import LOCK, OWNER, FolderLock
from genrec.runtime.progress import console
from genrec.serving.batch.histories import FileFormat
from genrec.serving.batch.scoring import Counts

_SETTINGS, _OUTPUT = "settings.json", "output.json"
_ROWS_IN_GROUP = 2**19
"""Rows of a row group of Parquet."""


class Parts:
    """The folder ``<output>.parts`` of a batch that is not finished; removed when the output is written.

    A part counts only with its record, which has its checksum: after a kill, what was not recorded is computed again.

    Args:
        output: the file to be written.
        file_format: of it.
        inputs: what decides its content; parts of other inputs are removed.
    """

    def __init__(self, output: Path, file_format: FileFormat, inputs: Mapping[str, Any]) -> None:
        self.output, self._format, self._inputs = output, file_format, dict(inputs)
        self.folder = output.with_name(f"{output.name}.parts")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Own the folder in the block; afterwards it stays if it has parts.

        Raises:
            DataError: another process has it, or it has files of something else.
            StorageError: it cannot be written.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder}: is a file, expected a folder for finished parts; move it away")
        lock = FolderLock(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise StorageError(f"{self.folder}: cannot be written: {reason(error)}") from error
        try:
            self._begin()
            yield
        finally:
            if not any(self.folder.glob("*.part")) and self._is_ours():
                self.clear()
            lock.release()
            with suppress(OSError):  # it has parts
                self.folder.rmdir()

    def finished(self) -> Counts | None:
        """The counts of this very batch if it has written its output, and was killed before it removed its parts."""
        with suppress(GenrecError, TypeError, KeyError):
            record = self._record(_OUTPUT)
            if self.output.is_file() and record["checksum_of_output"] == checksum(self.output):
                return Counts(**record["counts"])
        return None

    def get(self, number: int) -> Counts | None:
        """The counts of a finished part; None if it is not finished, or damaged."""
        with suppress(GenrecError, TypeError, KeyError):
            record = self._record(f"{number:06d}.json")
            if checksum(self._file(number)) == record["checksum_of_part"]:
                return Counts(**record["counts"])
        return None

    def put(self, number: int, content: bytes, counts: Counts) -> None:
        """Store a part.

        Raises:
            StorageError: it cannot be written.
        """
        with replacing(self._file(number)) as partial:
            partial.write_bytes(content)
        record = {"checksum_of_part": checksum(self._file(number)), "counts": asdict(counts)}
        write_json(self.folder / f"{number:06d}.json", seal(record))

    def write_output(self, num_parts: int, total: Counts, *, header: bytes) -> None:
        """Put the output together, and remove the parts.

        Args:
            num_parts: all are finished.
            total: sums over them.
            header: what precedes the parts, unless they are Parquet.

        Raises:
            StorageError: it cannot be written.
        """
        files = [self._file(number) for number in range(num_parts)]
        with replacing(self.output) as partial:
            if self._format == "parquet":
                _concatenate(files, partial)
            else:
                with partial.open("wb") as whole:
                    whole.write(header)
                    for file in files:
                        with file.open("rb") as part:
                            shutil.copyfileobj(part, whole)
            record = {"checksum_of_output": checksum(partial), "counts": asdict(total)}
            write_json(self.folder / _OUTPUT, seal(record))
        self.clear()

    def clear(self) -> None:
        """Remove all files but the lock; the settings last, so that a kill leaves a folder that is recognized."""
        last = (_OUTPUT, _SETTINGS)
        for file in sorted(self.folder.iterdir(), key=lambda file: (file.name in last, file.name)):
            if file.name not in (LOCK, OWNER):
                file.unlink(missing_ok=True)

    def _begin(self) -> None:
        """Remove parts of other inputs, and what a killed process was writing."""
        if not self._is_ours():
            raise DataError(f"{self.folder}: is not empty and not of a batch; move it away, or change --output")
        partials = self.output.parent.glob(f"{escape(self.output.name)}.*{PARTIAL}")
        for partial in (*partials, *self.folder.glob(f"*{PARTIAL}")):
            if is_abandoned(partial):
                partial.unlink(missing_ok=True)
        before: Mapping[str, Any] = {}
        with suppress(GenrecError):
            before = self._record(_SETTINGS).get("inputs", {})
        if before == self._inputs:
            return
        if before:
            names = [name for name in {**before, **self._inputs} if before.get(name) != self._inputs.get(name)]
            console.print(
                f"{self.folder}: parts of another batch ({', '.join(names)} changed); starting anew", markup=False
            )
        self.clear()
        write_json(self.folder / _SETTINGS, seal({"inputs": self._inputs}))

    def _is_ours(self) -> bool:
        names = {file.name for file in self.folder.iterdir()} - {LOCK, OWNER}
        return _SETTINGS in names or all(name.startswith((_SETTINGS, OWNER)) for name in names)

    def _record(self, name: str) -> dict[str, Any]:
        content = read_json(self.folder / name)
        if not is_intact(content):
            raise DataError(f"{self.folder / name}: damaged")
        return content

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.part"


def _concatenate(files: Sequence[Path], output: Path) -> None:
    """Write Parquet files as one, in bounded memory; row groups do not depend on the number of threads."""
    table = pl.scan_parquet(list(files), glob=False)
    try:
        table.sink_parquet(output, row_group_size=_ROWS_IN_GROUP, maintain_order=True, engine="streaming")
    except pl.exceptions.PolarsError as error:
        raise StorageError(f"{output}: cannot be written: {str(error).partition('.')[0]}") from error
