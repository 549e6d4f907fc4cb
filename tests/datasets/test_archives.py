"""Archives that are damaged at the end, and members with conflicting names."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from genrec.datasets.readers.archives import unpack_archive
from genrec.errors import DataError


@pytest.mark.parametrize("packing", ["gz", "xz"])
def test_a_wrong_byte_is_found_by_the_checksum_at_the_very_end(tmp_path: Path, packing: Literal["gz", "xz"]) -> None:
    path, content = tmp_path / "data.tar", np.random.default_rng(0).bytes(100_000)  # it is stored as it is
    with tarfile.open(path, mode=f"w:{packing}") as archive:
        info = tarfile.TarInfo("ratings.csv")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    unpack_archive(path, tmp_path / "whole")
    assert (tmp_path / "whole" / "ratings.csv").read_bytes() == content
    packed = bytearray(path.read_bytes())
    packed[50_000] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(DataError, match="the archive is damaged"):
        unpack_archive(path, tmp_path / "damaged")


def test_a_file_cannot_be_a_folder_as_well(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name in ("a", "a/b/c"):
            archive.writestr(name, b"x")
    with pytest.raises(DataError, match="two of its files have the same name"):
        unpack_archive(tmp_path / "data.zip", tmp_path / "out")
