"""Results on stdout: JSON, and tables that stay readable in a pipe."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")


_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff]")
"""What JSON may hold as it is, but a terminal interprets or UTF-8 lacks; stands in strings only."""


def printable(text: str) -> str:
    """Replace control characters, which file names and item keys may contain and terminals interpret."""
    return text.translate(_CONTROLS)


def allow_any_text() -> None:
    """Let stdout and stderr replace characters that their encoding lacks (a pipe of Windows: cp1252) and surrogates."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")


def print_json(data: Any) -> None:
    """Print plain data as indented JSON; only ASCII where the encoding of stdout is not UTF-8."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    text = json.dumps(data, indent=2, ensure_ascii=not is_unicode)
    sys.stdout.write(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def results() -> Console:
    """A console for stdout; 160 columns wide outside a terminal, so that cells are not wrapped."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without a frame; cells are printed literally (no ``[markup]``)."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title), style="bold"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    results().print(table)
