"""Files are written whole or not at all, and what is wrong with one is said in one line."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from genrec.errors import DataError, StorageError
from genrec.runtime import files
from genrec.runtime.checksums import checksum, is_intact, seal, verify
from genrec.runtime.files import copy_file, read_json, reason, replacing, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    file = tmp_path / "folder" / "log.json"
    with pytest.raises(TypeError):
        write_json(file, {"x": object()})
    assert not file.exists()
    write_json(file, {"title": "Größe"})
    assert file.read_text(encoding="utf-8") == '{\n "title": "Größe"\n}\n'

    def half(partial):
        partial.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), replacing(file) as partial:
        half(partial)
    assert read_json(file) == {"title": "Größe"}
    assert [path.name for path in file.parent.iterdir()] == ["log.json"]


def test_a_file_is_on_disk_before_it_is_renamed_and_the_name_before_the_end(tmp_path, monkeypatch):
    """What a power cut leaves cannot be tested; the order of calls can."""
    calls = []
    fsync, replace = os.fsync, Path.replace

    def record_sync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def record_replace(self, target):
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_replace)
    write_text(tmp_path / "a", "text")
    assert calls == ["file", "rename", "folder"]


def test_links_are_replaced_and_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "link").symlink_to(precious)
    (tmp_path / f"link.{os.getpid()}.partial").symlink_to(precious)
    write_text(tmp_path / "link", "new")
    assert precious.read_text() == "precious"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (SafetensorError('Error: IoError(Os { code: 28, kind: StorageFull, message: "No space" })'), os.strerror(28)),
        (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), os.strerror(27)),
        (SafetensorError("InvalidHeader"), "InvalidHeader"),
    ],
)
def test_the_reason_of_a_failed_write_is_the_one_of_the_system(error, text, tmp_path):
    assert reason(error) == text
    with pytest.raises(StorageError) as caught, replacing(tmp_path / "x"):
        raise error
    assert str(caught.value) == f"{tmp_path / 'x'}: cannot be written: {text}"


def test_a_tensor_file_that_cannot_be_written_names_the_file(tmp_path):
    """The library reports what the operating system said, in words of its own."""
    with pytest.raises(StorageError) as caught, replacing(tmp_path / "x"):
        save_file({"x": np.ones(3)}, tmp_path / "missing" / "x")
    assert str(caught.value).startswith(f"{tmp_path / 'x'}: cannot be written: ")
    assert "{" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_copies_are_equal_and_independent(size, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    copy_file(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert source.stat().st_nlink == (tmp_path / "copy").stat().st_nlink == 1


def test_a_temporary_file_of_a_living_process_is_not_abandoned(tmp_path):
    assert not files.is_abandoned(tmp_path / f"x.{os.getpid()}.partial")
    assert not files.is_abandoned(tmp_path / "x.1.partial")
    assert files.is_abandoned(tmp_path / "x.999999999.partial")
    assert files.is_abandoned(tmp_path / "x.partial")


def test_no_signal_is_sent_where_it_would_interrupt_the_process(tmp_path, monkeypatch):
    """On Windows, signal 0 is Ctrl-C."""
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(os, "kill", lambda pid, signal: pytest.fail("a signal was sent"))
    assert not files.is_abandoned(tmp_path / "x.999999999.partial")


def test_checksums_are_those_of_sha256sum_and_seals_detect_changes(tmp_path):
    (tmp_path / "x").write_text("abc")
    assert checksum(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    sealed = seal({"a": [1, 2.5], "b": {"c": "ü"}})
    write_json(tmp_path / "sealed.json", sealed)
    assert is_intact(read_json(tmp_path / "sealed.json"))
    assert not is_intact({**sealed, "a": [1, 2.6]})
    assert not is_intact([1])
    assert is_intact({"a": 1}), "an earlier version wrote no checksum"


def test_a_file_is_checked_against_the_nearest_record(tmp_path):
    file = tmp_path / "run" / "streams" / "text" / "ids"
    write_text(file, "abc")
    assert verify(file) == file, "not in a run"
    write_json(tmp_path / "run" / "run.json", {"files": {"streams/text/ids": checksum(file)}})
    assert verify(file) == file
    write_text(file, "abd")
    with pytest.raises(DataError, match="its checksum is not the one in"):
        verify(file)


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(StorageError, match=r": cannot be written: is not a regular file$"):
            write_text(path, "text")
    assert (tmp_path / "pipe").is_fifo()
