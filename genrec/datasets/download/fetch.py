"""Download of a published dataset: resumed, verified, unpacked, and moved into place only when complete."""

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

from genrec.datasets.download.sources import RemoteFile, Source
from genrec.datasets.readers.archives import unpack_archive, unpack_gzip
from genrec.errors import DataError
from genrec.runtime.progress import Bar
from genrec.version import __version__

SECONDS = 30.0
"""Timeout of a request in seconds."""
ATTEMPTS = 5
"""Attempts per download, resumed after a broken connection."""
PAUSE = 1.0
"""Seconds before the second attempt; grows linearly with each attempt."""

_BLOCK = 2**20
_MB = 10**6
_LOCAL = ("localhost", "127.0.0.1", "::1")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def remote_size(source: Source, file: RemoteFile, data: Path) -> int | None:
    """Size of a file in bytes: the known one, else that of the server's answer; None if the server sends none.

    Raises:
        DataError: the server cannot be reached or does not have the file; the message explains the manual download.
    """
    if file.size is not None:
        return file.size
    with _manual_download_advice(source, file, data):
        try:
            with _open(file.url, method="HEAD") as response:
                length = response.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            if error.code not in (403, 405, 501):  # some servers do not support HEAD
                raise
            return None
    return int(length) if length and length.isdigit() else None


def fetch(source: Source, data: Path) -> list[str]:
    """Download the missing files of a dataset.

    Files that are already in the folder are not downloaded. The work folder is ``.fetch-<name>`` inside ``data``; it is
    removed at the end and stays after an error, so that the next call resumes.

    Args:
        source: the dataset.
        data: the folder of all data; the dataset is a folder inside it.

    Returns:
        One line for each file: size, checksum, and whether it is the published one.

    Raises:
        DataError: a server cannot be reached, a checksum is wrong, an archive is damaged or unsafe, the disk is full.
    """
    folder = data / source.folder
    work = _work_folder(source, data)
    ready = work / "ready"
    missing = [file for file in source.missing(data) if not file.is_optional or (folder / file.name).is_file()]
    lines, fetched = [], {}
    with _full_disk_reported(data), _left_clean(work, ready):
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
    """Download to ``path``, resuming from ``path.part`` of an earlier attempt.

    Raises:
        DataError: the URL or a redirect is not https.
        OSError: the server cannot be reached, does not have it, or the connection broke too often.
        http.client.HTTPException: the server's response is invalid.
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
            has_progress = part.is_file() and part.stat().st_size > before
            if attempt == ATTEMPTS or not has_progress or getattr(error, "errno", None) in _FULL:
                raise
            time.sleep(PAUSE * attempt)
        else:
            part.replace(path)
            _validator_file(part).unlink(missing_ok=True)
            return
    raise ConnectionError(f"broke off {ATTEMPTS} times")


def _receive(url: str, part: Path) -> None:
    """Download the rest of a file if its version on the server is unchanged, else the whole file."""
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
            _note_validator(response.headers, validator)  # the part holds no bytes of another version now
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
    """The file that stores the version (ETag or date) of the part."""
    return part.with_name(f"{part.name}.version")


def _note_validator(headers: Message, file: Path) -> None:
    etag = headers.get("ETag")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    if validator:
        file.write_text(validator, encoding="utf-8")
    else:  # the version is unknown: the next attempt starts over
        file.unlink(missing_ok=True)


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _require_secure(newurl, redirected_from=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_secure(url: str, redirected_from: str = "") -> None:
    """Check that a URL is https, or http on this machine without a redirect from https."""
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in _LOCAL and not redirected_from.startswith("https:")
    if parts.scheme != "https" and not is_local:
        redirect = f"{redirected_from} redirects to " if redirected_from else ""
        raise DataError(f"{redirect}{url}: expected an https URL; nothing was downloaded")


def _open(url: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Any:
    _require_secure(url)
    agent = {"User-Agent": f"genrec/{__version__}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, method=method, headers={**agent, **(headers or {})})
    return urllib.request.build_opener(_SecureRedirects).open(request, timeout=SECONDS)


def _downloaded(source: Source, file: RemoteFile, data: Path, work: Path) -> Path:
    path = work / file.name
    if path.is_file():  # complete: an earlier attempt failed after the download
        return path
    if not file.url:
        raise DataError(
            f"{source.name}: it must be downloaded by hand: {source.note} (see {source.page}); put "
            f"{file.name} into {data / source.folder} and run this again to resume"
        )
    free = shutil.disk_usage(data).free
    if file.size is not None and file.size > free:
        raise OSError(errno.ENOSPC, f"{file.name} has {file.size / _MB:,.0f} MB, {free / _MB:,.0f} MB are free")
    with _manual_download_advice(source, file, data):
        download(file.url, path)
    return path


def _checked(path: Path, file: RemoteFile, record: Path) -> tuple[str, dict[str, Any]]:
    """The line about a file, and its entry in the download record."""
    kind, _, published = (file.checksum or "").partition(":")
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", kind} - {""}}
    with path.open("rb") as content:
        while block := content.read(_BLOCK):
            for digest in digests.values():
                digest.update(block)
    sha256 = digests["sha256"].hexdigest()
    line = f"{file.name}: {path.stat().st_size:,} bytes, sha256 {sha256}"
    entry = {"sha256": sha256, "bytes": path.stat().st_size, "url": file.url, "fetched": _now()}
    if published:
        found = digests[kind].hexdigest()
        if found != published:
            raise DataError(_refuse(path, f"its {kind} is {found}, expected {published}, the published one"))
        return f"{line}, {kind} as published", entry
    earlier = _recorded(record).get(file.name, {}).get("sha256")
    if earlier is not None and earlier != sha256:
        raise DataError(_refuse(path, f"its sha256 is {sha256}, but {earlier} when it was fetched before ({record})"))
    return f"{line}, no checksum published{', the same as before' if earlier else ''}", entry


def _refuse(path: Path, why: str) -> str:
    """Rename a file with a wrong checksum, so that it is neither used nor lost."""
    aside = path.with_name(f"{path.name}.refused")
    path.replace(aside)
    return f"{path}: {why}; nothing was unpacked, the file is now {aside}: remove it and fetch again"


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
        raise DataError(f"{path}: has no {' and no '.join(absent)}; found {there}; is it a different file?")


def _put_in_place(ready: Path, folder: Path) -> None:
    """Rename the folder if it is new, else move file by file without overwriting any file."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        ready.replace(folder)
        return
    files = [path for path in ready.rglob("*") if path.is_file()]
    for path in files:
        target = folder / path.relative_to(ready)
        if target.exists() and not (target.is_file() and filecmp.cmp(path, target, shallow=False)):
            raise DataError(f"{target}: a different file of this name exists; move it away and fetch again")
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
def _manual_download_advice(source: Source, file: RemoteFile, data: Path) -> Iterator[None]:
    """Turn network errors into an error that explains the manual download."""
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
            f"{file.url}: {_reason(error)}; download it elsewhere (see {source.page}), put it at "
            f"{data / source.folder / file.name}{more}, and run 'genrec data fetch {source.name}' again to "
            "resume"
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
    """After an error, leave only what the next attempt can use."""
    try:
        yield
    except BaseException:
        for folder in [ready, *work.glob("unpacked-*")]:
            _remove(folder)
        with suppress(OSError):  # it holds a download
            work.rmdir()
        raise


@contextmanager
def _full_disk_reported(data: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DataError(
            f"{data}: the disk is full ({error.strerror}); the download is stored: free some space and run this again"
        ) from error
