"""Images of Amazon items in a local folder, found by the item's key or by the file name of their URL."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_NUMBERED = re.compile(r"(.+)_(\d{1,9})", re.ASCII)


class ImageFolder:
    """One flat folder, listed once: only listed files can be selected, whatever a URL contains."""

    def __init__(self, folder: Path) -> None:
        """List the folder; one that does not exist is empty."""
        self.folder = folder
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        self._names = {name for name in names if Path(name).suffix.lower() in _ENDINGS}
        numbered: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        for name in sorted(self._names):
            stem = Path(name).stem
            numbered[stem].append((-1, name))
            if match := _NUMBERED.fullmatch(stem):
                numbered[match[1]].append((int(match[2]), name))
        self._by_key = {key: [name for _, name in sorted(found)] for key, found in numbered.items()}

    def names(self, key: str, urls: Sequence[str]) -> list[str]:
        """The files of an item: ``<key>.jpg`` and ``<key>_0.jpg``, ``<key>_1.jpg`` ... if there are any, else those
        with the file names of its URLs, percent-decoded or not.
        """
        if found := self._by_key.get(key):
            return found
        ends = (re.split("[?#]", url, maxsplit=1)[0].rpartition("/")[2] for url in urls)
        names = (name for end in ends for name in (unquote(end), end))
        return list(dict.fromkeys(name for name in names if name in self._names))
