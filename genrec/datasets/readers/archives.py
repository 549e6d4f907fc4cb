"""Safe unpacking of downloaded archives: plain files inside the folder only, of limited number and size."""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO

from genrec.datasets.readers.folder import leaves_folder
from genrec.errors import DataError
from genrec.runtime.progress import Bar

MAX_FILES = 1_000_000
MAX_GROWTH = 50
"""How many times larger than the archive its content may be; published ones grow up to ten times."""
_FREE_BYTES = 64 * 2**20
"""Content of this size is always allowed: small archives of text have high compression ratios."""
_BLOCK = 2**20
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, RuntimeError)
_MB = 10**6


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_folder: bool
    is_plain: bool
    open: Callable[[], IO[bytes]]


def unpack_archive(archive: Path, into: Path) -> Path:
    """Unpack a zip or tar file.

    Args:
        archive: recognized by its content, not its name.
        into: a new folder.

    Returns:
        ``into``, or its only folder if it contains nothing else.

    Raises:
        DataError: it is damaged, encrypted or neither zip nor tar; a member is a link, a device or outside the folder;
            or the content is implausibly large.
    """
    budget = _Budget(archive)
    into.mkdir(parents=True)
    with _damage_reported(archive), Bar(f"unpacking {archive.name} (MB)") as bar:
        for number, member in enumerate(_members(archive)):
            if number >= MAX_FILES:
                raise DataError(f"{archive}: more than {MAX_FILES:,} files; expected a dataset; nothing was unpacked")
            if not member.name.strip("/") or leaves_folder(member.name):
                raise DataError(f"{archive}: {member.name!r} is outside of the folder; nothing was unpacked")
            if not member.is_plain:
                raise DataError(
                    f"{archive}: {member.name!r} is a link or a device, expected a file; nothing was unpacked"
                )
            path = into / member.name
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
            elif not _is_litter(member.name):
                budget.check(member.size)
                path.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as content, path.open("xb") as out:
                    _copy(content, out, budget)
                bar.advance(member.size // _MB)
    inside = list(into.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else into


def unpack_gzip(packed: Path, path: Path) -> None:
    """Unpack a single file.

    Raises:
        DataError: it is damaged, or its content is implausibly large.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _damage_reported(packed), gzip.open(packed, "rb") as content, path.open("xb") as out:
        _copy(content, out, _Budget(packed))


class _Budget:
    """Limits the bytes that are really unpacked: sizes stated in an archive can be wrong."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._left = max(MAX_GROWTH * archive.stat().st_size, _FREE_BYTES)

    def check(self, size: int) -> None:
        if size > self._left:
            raise DataError(
                f"{self._archive}: unpacked it would be more than {MAX_GROWTH} times as large; expected a dataset; "
                "nothing was unpacked"
            )

    def spend(self, size: int) -> None:
        self.check(size)
        self._left -= size


def _copy(content: IO[bytes] | BufferedIOBase, out: IO[bytes], budget: _Budget) -> None:
    while block := content.read(_BLOCK):
        budget.spend(len(block))
        out.write(block)


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                if info.flag_bits & 1:
                    raise DataError(f"{archive}: {info.filename!r} is encrypted; unpack it by hand")
                kind = stat.S_IFMT(info.external_attr >> 16)
                is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                yield _Member(info.filename, info.file_size, info.is_dir(), is_plain, lambda info=info: file.open(info))
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for info in tar:

                def content(info: tarfile.TarInfo = info) -> IO[bytes]:
                    opened = tar.extractfile(info)
                    assert opened is not None  # only links and devices have none
                    return opened

                yield _Member(info.name, info.size, info.isdir(), info.isreg() or info.isdir(), content)
            while tar.fileobj and tar.fileobj.read(_BLOCK):
                pass  # read to the end, where gzip and xz store the checksum
    else:
        raise DataError(f"{archive}: neither a zip nor a tar file; is it a saved web page? download it again")


def _is_litter(name: str) -> bool:
    """Whether macOS added this file."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith("._")


@contextmanager
def _damage_reported(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{archive}: the archive is damaged ({error}); remove it and download it again") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise DataError(
            f"{archive}: two of its files have the same name: {error.filename}; unpack it by hand"
        ) from error
