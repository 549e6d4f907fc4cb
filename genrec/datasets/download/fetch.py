"""Fetching a published data set: resumed, checked, unpacked, and put in place only when it is whole."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from genrec import __version__
from genrec.datasets.download.sources import RemoteFile, Source
from genrec.datasets.readers.archives import unpack_archive, unpack_gzip
from genrec.errors import DataError
from genrec.runtime.progress import Bar

SECONDS = 30.0
"""How long a server may be silent."""
ATTEMPTS = 5
"""How often in all a download is taken up again after the connection broke."""
PAUSE = 1.0
"""Seconds before the second attempt; each further one waits as long again."""

_BLOCK = 2**20
_MB = 10**6
_LOCAL = ("localhost", "127.0.0.1", "::1")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def remote_size(source: Source, file: RemoteFile, data: Path) -> int | None:
    """How large a file is: as it is known, or as the server says; None if it does not say.

    Raises:
        DataError: the server cannot be reached or does not have the file; the text says how to get it by hand.
    """
    if file.size is not None:
        return file.size
    with _told_by_hand(source, file, data):
        try:
            with _open(file.url, method="HEAD") as response:
                length = response.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            if error.code not in (403, 405, 501):  # some servers answer no such question
                raise
            return None
    return int(length) if length and length.isdigit() else None


def fetch(source: Source, data: Path) -> list[str]:
    """Get what is missing of a data set.

    A file that somebody put into the folder by hand is taken from there. Work goes on in ``.fetch-<name>`` inside
    ``data``, which is removed at the end and kept, for the next try, if something is in the way.

    Args:
        source: what to get.
        data: the folder of all data; the data set gets a folder in it.

    Returns:
        A line about each file: its size, its checksum and whether that is the published one.

    Raises:
        DataError: a server cannot be reached, a checksum is wrong, an archive is damaged or unsafe, the disk is full.
    """
    folder = data / source.folder
    work = _work_folder(source, data)
    ready = work / "ready"
    missing = [file for file in source.missing(data) if not file.is_optional or (folder / file.name).is_file()]
    lines, fetched = [], {}
    with _full_disk_told(data), _left_clean(work, ready):
        _remove(ready)
        ready.mkdir(parents=True)
        for number, file in enumerate(missing):
            by_hand = folder / file.name
            path = by_hand if by_hand.is_file() else _downloaded(source, file, data, work)
            line, fetched[file.name] = _checked(path, file, data / f"{source.folder}.fetched.json")
            lines.append(line)
            _make_ready(path, file, ready, work / f"unpacked-{number}", keep=path == by_hand)
        _put_in_place(ready, folder)
        _record(data / f"{source.folder}.fetched.json", fetched)
        _remove(work)
    return lines


def _work_folder(source: Source, data: Path) -> Path:
    return data / f".fetch-{source.name}"


def download(url: str, path: Path) -> None:
    """Download to ``path``; what an earlier try left in ``path.part`` is not asked for again.

    Raises:
        DataError: the address, or one that it leads to, is not https.
        OSError: the server cannot be reached, does not have it, or broke off too often.
        http.client.HTTPException: the server's answer makes no sense.
    """
    for attempt in range(1, ATTEMPTS + 1):
        part = path.with_name(f"{path.name}.part")
        before = part.stat().st_size if part.is_file() else 0
        try:
            _receive(url, part)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not part.is_file():  # 416: what is there is longer than the file itself
                raise
            part.unlink()
        except (OSError, http.client.HTTPException) as error:
            went_on = part.is_file() and part.stat().st_size > before
            if attempt == ATTEMPTS or not went_on or getattr(error, "errno", None) in _FULL:
                raise
            time.sleep(PAUSE * attempt)
        else:
            part.replace(path)
            _validator_file(part).unlink(missing_ok=True)
            return
    raise ConnectionError(f"broke off {ATTEMPTS} times")


def _receive(url: str, part: Path) -> None:
    """The rest of a file if the server still has the same one, else all of it."""
    done, validator = 0, _validator_file(part)
    headers = {}
    if part.is_file() and validator.is_file():
        done = part.stat().st_size
        headers = {"Range": f"bytes={done}-", "If-Range": validator.read_text(encoding="utf-8")}
    with _open(url, headers=headers) as response:
        if done and not (response.status == 206 and _starts_at(response.headers, done)):
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else None
        title = f"{url.rpartition('/')[2]} (MB)"
        with part.open("ab" if done else "wb") as out, Bar(title, total and -(-total // _MB)) as bar:
            _note_validator(response.headers, validator)  # now that nothing of another version is left in the part
            bar.advance(done // _MB)
            while block := response.read(_BLOCK):
                out.write(block)
                bar.advance((done + len(block)) // _MB - done // _MB)
                done += len(block)
    if total is not None and done != total:
        raise ConnectionError(f"broke off after {done:,} of {total:,} bytes")


def _starts_at(headers: Message, start: int) -> bool:
    return (headers.get("Content-Range") or "").startswith(f"bytes {start}-")


def _validator_file(part: Path) -> Path:
    """Keeps which version of the file the part is of."""
    return part.with_name(f"{part.name}.version")


def _note_validator(headers: Message, file: Path) -> None:
    etag = headers.get("ETag")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    if validator:
        file.write_text(validator, encoding="utf-8")
    else:  # no way to see whether the server still has the same file: the next try starts over
        file.unlink(missing_ok=True)


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects that stay with https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _require_secure(newurl, came_from=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_secure(url: str, came_from: str = "") -> None:
    """Https, or plain http on this machine, unless https led there."""
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in _LOCAL and not came_from.startswith("https:")
    if parts.scheme != "https" and not is_local:
        led = f"{came_from} leads to " if came_from else ""
        raise DataError(f"{led}{url}: expected an address with https; nothing was fetched")


def _open(url: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Any:
    _require_secure(url)
    agent = {"User-Agent": f"genrec/{__version__}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, method=method, headers={**agent, **(headers or {})})
    return urllib.request.build_opener(_SecureRedirects).open(request, timeout=SECONDS)


def _downloaded(source: Source, file: RemoteFile, data: Path, work: Path) -> Path:
    path = work / file.name
    if path.is_file():  # whole, but the try that fetched it came no further
        return path
    if not file.url:
        raise DataError(
            f"{source.name}: its publisher wants it fetched by hand: {source.note} (see {source.page}); put "
            f"{file.name} into {data / source.folder} and run this again: it goes on from there"
        )
    free = shutil.disk_usage(data).free
    if file.size is not None and file.size > free:
        raise OSError(errno.ENOSPC, f"{file.name} has {file.size / _MB:,.0f} MB, {free / _MB:,.0f} MB are free")
    with _told_by_hand(source, file, data):
        download(file.url, path)
    return path


def _checked(path: Path, file: RemoteFile, record: Path) -> tuple[str, dict[str, Any]]:
    """A line about the file, and its entry in the record of what was fetched."""
    kind, _, published = (file.checksum or "").partition(":")
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", kind} - {""}}
    with path.open("rb") as content:
        while block := content.read(_BLOCK):
            for digest in digests.values():
                digest.update(block)
    sha256 = digests["sha256"].hexdigest()
    told = f"{file.name}: {path.stat().st_size:,} bytes, sha256 {sha256}"
    entry = {"sha256": sha256, "bytes": path.stat().st_size, "url": file.url, "fetched": _now()}
    if published:
        found = digests[kind].hexdigest()
        if found != published:
            raise DataError(_refuse(path, f"its {kind} is {found}, expected {published}, the published one"))
        return f"{told}, {kind} as published", entry
    earlier = _recorded(record).get(file.name, {}).get("sha256")
    if earlier is not None and earlier != sha256:
        raise DataError(_refuse(path, f"its sha256 is {sha256}, but {earlier} when it was fetched before ({record})"))
    return f"{told}, none published{', the same as before' if earlier else ''}", entry


def _refuse(path: Path, why: str) -> str:
    """A file that is not what it should be is set aside, so that it is neither used nor lost."""
    aside = path.with_name(f"{path.name}.refused")
    path.replace(aside)
    return f"{path}: {why}; nothing was unpacked, the file is now {aside}: remove it and fetch again, or ask why"


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _make_ready(path: Path, file: RemoteFile, ready: Path, unpacked: Path, *, keep: bool) -> None:
    if file.unpack == "archive":
        _remove(unpacked)
        for part in unpack_archive(path, unpacked).iterdir():
            part.replace(ready / part.name)
    elif file.unpack == "gzip":
        unpack_gzip(path, ready / file.gives[0])
    elif keep:
        shutil.copyfile(path, ready / file.gives[0])
    else:
        path.replace(ready / file.gives[0])
    if absent := [name for name in file.gives if not (ready / name).exists()]:
        there = ", ".join(sorted(part.name for part in ready.iterdir())) or "nothing"
        raise DataError(f"{path}: has no {' and no '.join(absent)}; found {there}; is it another file of that name?")


def _put_in_place(ready: Path, folder: Path) -> None:
    """One rename where the folder is new; else file by file, and nothing that is there is overwritten."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        ready.replace(folder)
        return
    files = [path for path in ready.rglob("*") if path.is_file()]
    for path in files:
        target = folder / path.relative_to(ready)
        if target.exists() and not (target.is_file() and filecmp.cmp(path, target, shallow=False)):
            raise DataError(f"{target}: there is another file of that name; move it away and fetch again")
    for path in files:
        target = folder / path.relative_to(ready)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _recorded(record: Path) -> dict[str, Any]:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _record(record: Path, fetched: dict[str, Any]) -> None:
    if fetched:
        whole = record.with_name(f"{record.name}.new")
        whole.write_text(json.dumps({**_recorded(record), **fetched}, indent=2) + "\n", encoding="utf-8")
        os.replace(whole, record)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _told_by_hand(source: Source, file: RemoteFile, data: Path) -> Iterator[None]:
    """Whatever goes wrong on the way: say why, and how to do without this machine's network."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in _FULL:
            raise
        others = [
            other.url
            for other in source.missing(data)
            if other.url and other is not file and not (_work_folder(source, data) / other.name).is_file()
        ]
        more = f" (and likewise {', '.join(others)})" if others else ""
        raise DataError(
            f"{file.url}: {_reason(error)}; get it in another way (see {source.page}), put it at "
            f"{data / source.folder / file.name}{more}, and run 'genrec data fetch {source.name}' again: it goes on "
            "from there"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the server's certificate is not valid ({reason.verify_message})"
    return f"cannot be fetched ({reason})"


@contextmanager
def _left_clean(work: Path, ready: Path) -> Iterator[None]:
    """After a failure only what the next try can use is left."""
    try:
        yield
    except BaseException:
        for folder in [ready, *work.glob("unpacked-*")]:
            _remove(folder)
        with suppress(OSError):  # it holds a download
            work.rmdir()
        raise


@contextmanager
def _full_disk_told(data: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DataError(
            f"{data}: the disk is full ({error.strerror}); what was downloaded is kept: make room and run this again"
        ) from error
