"""Ways in which a file is damaged, and runs without checksums."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path


def truncate(file: Path, other: Path) -> None:
    """Half of the file is lost, as after a power cut."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path, other: Path) -> None:
    """One bit of a byte in the last third is wrong."""
    content = bytearray(file.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    file.write_bytes(content)


def empty(file: Path, other: Path) -> None:
    """Nothing is left."""
    file.write_bytes(b"")


def swap(file: Path, other: Path) -> None:
    """The file of another run is in its place."""
    shutil.copyfile(other, file)


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "truncate": truncate,
    "flip": flip,
    "empty": empty,
    "swap": swap,
}
"""By name: what damages a file; the second argument is the same file of another run."""


def forget_checksums(run: Path) -> Path:
    """Make a run one of a version that recorded no checksums, so that its files can be changed; returns its folder."""
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    facts = {key: value for key, value in facts.items() if key not in ("files", "checksum")}
    (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return run
