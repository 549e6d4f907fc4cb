"""The EAGER paper: stores outcomes of ``genrec reproduce`` in ``docs/results/reproduction`` and writes the page.

``python benchmarks/reproduction.py add DIR...`` copies the outcomes in the folders; one of the same study, dataset and
budget is replaced. ``python benchmarks/reproduction.py page`` writes ``docs/reproduction.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from genrec.errors import DataError, GenrecError
from genrec.reproduction import files
from genrec.reproduction.page import page

DOCS = Path(__file__).parents[1] / "docs"


def add(folders: Sequence[Path], target: Path) -> list[Path]:
    """Store the outcomes of some folders.

    Raises:
        DataError: a folder has none, or one of the budget ``quick``.
    """
    stored = []
    for folder in folders:
        found = list(files.read_all(folder))
        if not found:
            raise DataError(f"{folder}: has no outcome; expected the folder of a finished `genrec reproduce`")
        for file, outcome in found:
            page([outcome])  # refuses what is no result
            target.mkdir(parents=True, exist_ok=True)
            stored.append(files.write(outcome, files.read_ranks(file), target))
    return stored


def write_page(folder: Path, file: Path) -> Path:
    """Write the page of all stored outcomes."""
    file.write_text(page([outcome for _, outcome in files.read_all(folder)]), encoding="utf-8")
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DOCS / "results" / "reproduction", help="of the stored outcomes")
    verbs = parser.add_subparsers(dest="verb", required=True)
    adding = verbs.add_parser("add", help="store outcomes")
    adding.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folders of genrec reproduce")
    verbs.add_parser("page", help="write the page").add_argument(
        "--file", type=Path, default=DOCS / "reproduction.md", help="of the page"
    )
    chosen = parser.parse_args(arguments)
    try:
        written = (
            add(chosen.folders, chosen.folder) if chosen.verb == "add" else [write_page(chosen.folder, chosen.file)]
        )
    except GenrecError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(map(str, written)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
