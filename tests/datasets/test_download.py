"""Download: resumed, verified, unpacked safely, never partial, against a local server."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import shutil
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from genrec.datasets.download import fetch as _download
from genrec.datasets.download.fetch import download, fetch, remote_size
from genrec.datasets.download.sources import RemoteFile, Source, recognize, sources
from genrec.datasets.readers import archives as _archives
from genrec.errors import DataError
from genrec.families import datasets

CONTENT = bytes(range(256)) * 4096


class Server:
    """Serves bytes by path; breaks off, redirects and forgets ranges on demand."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.break_off: list[int] = []
        self.knows_ranges = True
        self.validator = '"one"'
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(is_head=True)

            def do_GET(self) -> None:
                self.answer(is_head=False)

            def answer(self, *, is_head: bool) -> None:
                if not is_head:
                    outer.asked.append((self.path, self.headers.get("Range")))
                if target := outer.redirects.get(self.path):
                    self.send_response(302)
                    self.send_header("Location", target)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if self.path not in outer.files:
                    self.send_error(404)
                    return
                content, start = outer.files[self.path], 0
                wanted = self.headers.get("Range")
                if wanted and outer.knows_ranges and self.headers.get("If-Range") == outer.validator:
                    start = int(wanted.removeprefix("bytes=").rstrip("-"))
                    if start >= len(content):
                        self.send_error(416)
                        return
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                else:
                    self.send_response(200)
                self.send_header("ETag", outer.validator)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                if not is_head:
                    size = outer.break_off.pop(0) if outer.break_off else len(content)
                    self.wfile.write(content[start : start + size])

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_download, "PAUSE", 0.0)
    running = Server()
    yield running
    running.close()


def zip_of(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


FILMS = {"ml-9/ratings.csv": b"userId\n", "ml-9/movies.csv": b"movieId\n", "__MACOSX/ml-9/._ratings.csv": b"x"}


def a_source(server: Server, content: bytes, checksum: str | None = None, name: str = "ml-9.zip") -> Source:
    server.files[f"/{name}"] = content
    file = RemoteFile(name, f"{server.address}/{name}", ("ratings.csv", "movies.csv"), "archive", None, checksum)
    return Source("ml-9", "films", {"type": "movielens", "folder": "ml-9"}, (file,), "free", "https://films.example")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_archive_is_fetched_checked_unpacked_and_recorded(server: Server, tmp_path: Path) -> None:
    content = zip_of(FILMS)
    source = a_source(server, content, f"sha256:{sha256(content)}")
    assert remote_size(source, source.files[0], tmp_path) == len(content)
    assert not source.is_found(tmp_path)
    assert fetch(source, tmp_path) == [
        f"ml-9.zip: {len(content):,} bytes, sha256 {sha256(content)}, sha256 as published"
    ]
    assert everything(tmp_path) == ["ml-9", "ml-9.fetched.json", "ml-9/movies.csv", "ml-9/ratings.csv"]
    assert (tmp_path / "ml-9" / "ratings.csv").read_bytes() == b"userId\n"
    record = json.loads((tmp_path / "ml-9.fetched.json").read_text())["ml-9.zip"]
    assert (record["sha256"], record["bytes"]) == (sha256(content), len(content))
    assert source.is_found(tmp_path)
    assert fetch(source, tmp_path) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_wrong_checksum_leaves_nothing_under_the_final_name(server: Server, tmp_path: Path, kind: str) -> None:
    content = zip_of(FILMS)
    source = a_source(server, content, f"{kind}:{'0' * 32}")
    aside = tmp_path / ".fetch-ml-9" / "ml-9.zip"
    found = hashlib.new(kind, content).hexdigest()
    with pytest.raises(DataError) as error:
        fetch(source, tmp_path)
    assert str(error.value) == (
        f"{aside}: its {kind} is {found}, expected {'0' * 32}, the published one; nothing was unpacked, the file is "
        f"now {aside}.refused: remove it and fetch again"
    )
    assert not (tmp_path / "ml-9").exists()


def test_file_without_published_checksum_is_compared_with_the_one_before(server: Server, tmp_path: Path) -> None:
    source = a_source(server, zip_of(FILMS))
    assert fetch(source, tmp_path)[0].endswith(", no checksum published")
    shutil.rmtree(tmp_path / "ml-9")
    assert fetch(source, tmp_path)[0].endswith(", no checksum published, the same as before")
    shutil.rmtree(tmp_path / "ml-9")
    source = a_source(server, zip_of({**FILMS, "ml-9/more.csv": b""}))
    with pytest.raises(DataError, match=r"but [0-9a-f]{64} when it was fetched before \(.*ml-9\.fetched\.json\)"):
        fetch(source, tmp_path)
    assert not (tmp_path / "ml-9").exists()


def test_broken_connection_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    server.break_off = [300_000, 400_000]
    download(f"{server.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked == [("/a", None), ("/a", "bytes=300000-"), ("/a", "bytes=700000-")]
    assert everything(tmp_path) == ["a"]


def test_next_try_goes_on_where_the_last_one_ended(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = zip_of({**FILMS, "ml-9/noise": CONTENT[:100_000]})
    source = a_source(server, content, f"sha256:{sha256(content)}")
    monkeypatch.setattr(_download, "ATTEMPTS", 1)
    server.break_off = [100]
    with pytest.raises(DataError, match=r"broke off after 100 of"):
        fetch(source, tmp_path)
    assert everything(tmp_path) == [".fetch-ml-9", ".fetch-ml-9/ml-9.zip.part", ".fetch-ml-9/ml-9.zip.part.version"]
    fetch(source, tmp_path)
    assert server.asked[-1] == ("/ml-9.zip", "bytes=100-")
    assert source.is_found(tmp_path)


@pytest.mark.parametrize("change", ["server forgets ranges", "file has changed", "part is too long"])
def test_part_that_cannot_be_continued_is_fetched_anew(server: Server, tmp_path: Path, change: str) -> None:
    server.files["/a"] = CONTENT
    (tmp_path / "a.part").write_bytes(b"old" * (500_000 if change == "part is too long" else 1))
    (tmp_path / "a.part.version").write_text('"one"')
    server.knows_ranges = change != "server forgets ranges"
    server.validator = '"two"' if change == "file has changed" else '"one"'
    download(f"{server.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_part_of_an_unknown_version_is_not_trusted(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    (tmp_path / "a.part").write_bytes(b"something else")
    download(f"{server.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked == [("/a", None)]


def test_missing_file_says_what_to_put_where(server: Server, tmp_path: Path) -> None:
    source = a_source(server, b"")
    server.files.clear()
    with pytest.raises(DataError) as error:
        fetch(source, tmp_path)
    assert str(error.value) == (
        f"{server.address}/ml-9.zip: the server answers 404 Not Found; download it elsewhere (see "
        f"https://films.example), put it at {tmp_path / 'ml-9' / 'ml-9.zip'}, and run 'genrec data fetch ml-9' again "
        "to resume"
    )
    assert everything(tmp_path) == []


def test_without_network_every_file_is_named(tmp_path: Path, server: Server) -> None:
    server.close()
    names = ("a.json.gz", "b.json.gz")
    files = tuple(RemoteFile(name, f"{server.address}/{name}", (name,)) for name in names)
    source = Source("shop", "x", {"type": "amazon_reviews", "folder": "shop"}, files, "free", "https://shop.example")
    for work in (lambda: fetch(source, tmp_path), lambda: remote_size(source, files[0], tmp_path)):
        with pytest.raises(DataError) as error:
            work()
        text = str(error.value)
        assert text.startswith(f"{server.address}/a.json.gz: cannot be fetched (")
        assert f"put it at {tmp_path / 'shop' / 'a.json.gz'} (and likewise {server.address}/b.json.gz), and run" in text


def test_file_put_there_by_hand_is_gone_on_from_and_kept(server: Server, tmp_path: Path) -> None:
    content = zip_of(FILMS)
    source = a_source(server, content, f"sha256:{sha256(content)}")
    (tmp_path / "ml-9").mkdir()
    (tmp_path / "ml-9" / "ml-9.zip").write_bytes(content)
    (tmp_path / "ml-9" / "movies.csv").write_bytes(b"movieId\n")
    fetch(source, tmp_path)
    assert server.asked == []
    assert everything(tmp_path / "ml-9") == ["ml-9.zip", "movies.csv", "ratings.csv"]


def test_nothing_that_is_there_is_overwritten(server: Server, tmp_path: Path) -> None:
    source = a_source(server, zip_of(FILMS))
    (tmp_path / "ml-9").mkdir()
    (tmp_path / "ml-9" / "movies.csv").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"movies\.csv: a different file of this name exists; move it away"):
        fetch(source, tmp_path)
    assert everything(tmp_path / "ml-9") == ["movies.csv"]
    assert (tmp_path / "ml-9" / "movies.csv").read_bytes() == b"mine"
    (tmp_path / "ml-9" / "movies.csv").unlink()
    fetch(source, tmp_path)
    assert len(server.asked) == 1  # what was downloaded had been kept


def test_publisher_that_wants_its_terms_accepted(tmp_path: Path) -> None:
    yelp = sources()["yelp"]
    with pytest.raises(DataError, match=r"yelp: it must be downloaded by hand: accept .* put yelp_dataset.tar"):
        fetch(yelp, tmp_path)
    names = ("yelp_academic_dataset_business.json", "yelp_academic_dataset_review.json")
    (tmp_path / "yelp").mkdir()
    (tmp_path / "yelp" / "yelp_dataset.tar").write_bytes(
        tar_of(*((tarfile.TarInfo(f"yelp_dataset/{name}"), b"{}\n") for name in names))
    )
    assert len(fetch(yelp, tmp_path)) == 1
    assert yelp.is_found(tmp_path)
    assert everything(tmp_path / "yelp") == [*names, "yelp_dataset.tar"]


def test_packed_file_and_renamed_file(server: Server, tmp_path: Path) -> None:
    server.files |= {"/x.csv.gz": gzip.compress(b"a,b\n"), "/Beauty.txt": b"1 2 3\n"}
    files = (
        RemoteFile("x.csv.gz", f"{server.address}/x.csv.gz", ("x.csv",), "gzip"),
        RemoteFile("Beauty.txt", f"{server.address}/Beauty.txt", ("sequences.txt",)),
    )
    source = Source("s", "x", {"type": "sequences", "folder": "s"}, files, "free", "https://s.example")
    fetch(source, tmp_path)
    assert everything(tmp_path / "s") == ["sequences.txt", "x.csv"]
    assert (tmp_path / "s" / "x.csv").read_bytes() == b"a,b\n"


def link(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


def zip_with_link() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("ratings.csv")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: zip_of({"../ratings.csv": b"x"}), "'../ratings.csv' is outside of the folder"),
        (lambda: zip_of({"/ratings.csv": b"x"}), "'/ratings.csv' is outside of the folder"),
        (lambda: zip_of({"a\\..\\..\\b": b"x"}), r"is outside of the folder"),
        (lambda: tar_of((tarfile.TarInfo("a/../../b"), b"x")), "'a/../../b' is outside of the folder"),
        (lambda: tar_of((link("ratings.csv"), b"")), "'ratings.csv' is a link or a device"),
        (zip_with_link, "'ratings.csv' is a link or a device"),
        (lambda: zip_of({"ratings.csv": bytes(3_000_000)}), "unpacked it would be more than 50 times as large"),
        (lambda: tar_of((tarfile.TarInfo("ratings.csv"), bytes(3_000_000))), "more than 50 times as large"),
        (lambda: zip_of(FILMS)[:-40], "neither a zip nor a tar file"),
        (lambda: zip_of(FILMS, zipfile.ZIP_STORED).replace(b"userId", b"UserId", 1), "is damaged .*CRC-32"),
        (lambda: b"<html>Not here any more</html>", "neither a zip nor a tar file; is it a saved web page?"),
        (lambda: zip_of({"ml-9/ratings.csv": b"x"}), "has no movies.csv; found ratings.csv; is it a different file"),
    ],
)
def test_archive_that_is_not_what_it_should_be(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], bytes],
    text: str,
) -> None:
    monkeypatch.setattr(_archives, "_FREE_BYTES", 1000)
    data = tmp_path / "data"
    with pytest.raises(DataError, match=text):
        fetch(a_source(server, make()), data)
    assert not (data / "ml-9").exists()
    assert everything(tmp_path) == ["data", "data/.fetch-ml-9", "data/.fetch-ml-9/ml-9.zip"]


def test_damaged_gzip(server: Server, tmp_path: Path) -> None:
    server.files["/x.csv.gz"] = gzip.compress(CONTENT)[:-2000]
    file = RemoteFile("x.csv.gz", f"{server.address}/x.csv.gz", ("x.csv",), "gzip")
    source = Source("s", "x", {"type": "sequences", "folder": "s"}, (file,), "free", "https://s.example")
    with pytest.raises(DataError, match=r"x\.csv\.gz: the archive is damaged \(.*\); remove it and download it again"):
        fetch(source, tmp_path)
    assert not (tmp_path / "s").exists()


def test_full_disk_is_reported_and_the_part_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = a_source(server, zip_of(FILMS))

    def receive(url: str, part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_download, "_receive", receive)
    with pytest.raises(DataError) as error:
        fetch(source, tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: the disk is full (No space left on device); the download is stored: free some space and run this "
        "again"
    )
    assert everything(tmp_path) == [".fetch-ml-9", ".fetch-ml-9/ml-9.zip.part"]


def test_interruption_leaves_nothing_under_the_final_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = a_source(server, zip_of(FILMS))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_archives, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(source, tmp_path)
    assert everything(tmp_path) == [".fetch-ml-9", ".fetch-ml-9/ml-9.zip"]


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/passwd", "data:,a", "http://127.0.0.1.evil/a"]
)
def test_only_https(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected an https URL; nothing was downloaded"):
        download(url, tmp_path / "a")


def test_redirect_is_followed_but_not_away_from_https(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    server.redirects = {"/old": f"{server.address}/a", "/bad": "http://example.org/a", "/file": "file:///etc/passwd"}
    download(f"{server.address}/old", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    for path in ("/bad", "/file"):
        with pytest.raises((DataError, urllib.request.HTTPError)) as error:
            download(f"{server.address}{path}", tmp_path / "b")
        assert "expected an https URL" in str(error.value) or "not allowed" in str(error.value)
    with pytest.raises(DataError, match=r"https://a\.example redirects to http://127\.0\.0\.1/b: expected"):
        _download._require_secure("http://127.0.0.1/b", redirected_from="https://a.example")
    assert everything(tmp_path) == ["a"]


def test_every_source_is_complete_and_its_block_is_valid() -> None:
    table = sources()
    assert {"amazon-beauty", "amazon-sports", "amazon-toys", "yelp-2019", "yelp", "ml-1m", "ml-32m"} <= set(table)
    assert {"amazon-2014-beauty", "amazon-2018-all-beauty", "amazon-2023-video-games"} <= set(table)
    for name, source in table.items():
        assert name == source.name
        block = dict(source.block)
        component = datasets.get(block.pop("type"))(**block)
        assert getattr(component, "folder", None) == source.folder == name
        assert source.terms
        assert source.page.startswith("https://")
        for file in source.files:
            assert file.url.startswith("https://") or (name == "yelp" and file.url == "")
            assert file.url == "" or file.url.endswith(f"/{file.name}")
            kind, _, digest = (file.checksum or "sha256:" + "0" * 64).partition(":")
            assert len(digest) == {"sha256": 64, "md5": 32}[kind]


@pytest.mark.parametrize(
    ("names", "block"),
    [
        (["sequences.txt"], {"type": "sequences", "items_file": None}),
        (["sequences.txt", "items.jsonl"], {"type": "sequences"}),
        (["ratings.csv", "movies.csv"], {"type": "movielens"}),
        (["ratings.dat"], {"type": "movielens"}),
        (["u.data"], {"type": "movielens"}),
        (["yelp_academic_dataset_review.json"], {"type": "yelp"}),
        (["x.inter", "x.item"], {"type": "recbole"}),
        (["reviews_Baby_5.json.gz", "meta_Baby.json.gz"], {"type": "amazon_reviews", "category": "Baby"}),
        (["ratings.csv"], None),
        ([], None),
    ],
)
def test_format_is_reported_by_its_files(tmp_path: Path, names: list[str], block: dict[str, str] | None) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert recognize(tmp_path) == block
    assert recognize(tmp_path / "nowhere") is None
