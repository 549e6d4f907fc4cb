"""Tables as HTML, for the page of a comparison and for notebooks: light and dark, names wrapped between their words."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import NamedTuple

from genrec.reporting.texts import plain

_BREAKS = re.compile(r"(?<=\w[_/=~:,.(+])(?=[^\W\d_])|(?<=\w[_=(/])(?=\d)")
"""Where a name may be wrapped, besides spaces and hyphens: after the signs between its words."""
_LONG_WORD = 24
"""A name with a longer part without such a place may be shortened, and has itself as a tooltip."""


class TableCell(NamedTuple):
    """A cell; a text alone is a cell, too."""

    text: str
    is_bold: bool = False
    note: str = ""
    """Small, below the text: an interval, a standard deviation."""
    letters: str | None = None
    """Behind the text; an empty text keeps the place of the letters of other rows."""


class TableRow(NamedTuple):
    """A line of a table."""

    name: str
    cells: Sequence[TableCell | str]
    """Of all columns but the first; if there are fewer, the last one takes the place of the missing ones."""
    group: str = ""
    """Title above consecutive rows of the same group; empty: none."""
    note: str = ""
    """Small, below the name."""


def html_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[TableRow],
    *,
    main: Collection[str] = (),
    left: Collection[str] = (),
) -> str:
    """A table with its style: an HTML fragment that needs nothing else, for ``_repr_html_``.

    Colors derive from those of the notebook, so it is readable in light and dark themes. All texts are escaped.

    Args:
        title: caption of the table.
        columns: their heads, that of the names first.
        rows: from top to bottom.
        main: heads of the columns to emphasize.
        left: heads of the columns of text; other columns are right-aligned, as numbers are.
    """
    return f"<style>\n{table_style()}</style>\n{table_element(title, columns, rows, main=main, left=left)}"


def table_element(
    title: str,
    columns: Sequence[str],
    rows: Sequence[TableRow],
    *,
    main: Collection[str] = (),
    left: Collection[str] = (),
) -> str:
    """The table of :func:`html_table` without its style, for a page that has :func:`table_style`."""
    aligned = ["text" * (column in left) for column in columns]
    heads = "".join(
        f'<th scope="col"{_class(align, "main" * (column in main))}>{breakable(column)}</th>'
        for column, align in zip(columns, aligned, strict=True)
    )
    bodies = []
    for group, members in groupby(rows, key=lambda row: row.group):
        title_row = (
            f'<tr class="group"><th scope="rowgroup" colspan="{len(columns)}"><span>{breakable(group)}</span></th></tr>'
            if group
            else ""
        )
        bodies.append(f"<tbody>{title_row}{''.join(_row(row, aligned[1:]) for row in members)}</tbody>")
    return scrolling(title, f"<thead><tr>{heads}</tr></thead>{''.join(bodies)}")


def table_style() -> str:
    """The style sheet of all tables."""
    return (files("genrec.reporting") / "table.css").read_text(encoding="utf-8")


def scrolling(title: str, content: str, *, kind: str = "") -> str:
    """A table in a box that scrolls if it has to, also by keyboard.

    Args:
        title: caption of the table.
        content: its rows, as HTML.
        kind: class of the table.
    """
    label = escape(plain(title))
    return (
        f'<div class="genrec-table" tabindex="0" role="region" aria-label="Table: {label}">'
        f"<table{_class(kind)}><caption>{label}</caption>{content}</table></div>"
    )


def row_head(name: str, more: str = "") -> str:
    """The name of a row as a cell.

    Args:
        name: any text.
        more: HTML behind it.
    """
    words = _BREAKS.sub(" ", plain(name)).replace("-", " ").split()
    tooltip = f' title="{escape(plain(name))}"' if any(len(word) > _LONG_WORD for word in words) else ""
    return f'<th scope="row"><bdi{tooltip}>{breakable(name)}</bdi>{more}</th>'


def breakable(text: str) -> str:
    """Text of any origin as HTML, escaped, on one line that may be wrapped between the words of its names."""
    return "<wbr>".join(map(escape, _BREAKS.split(plain(text))))


def _row(row: TableRow, aligned: Sequence[str]) -> str:
    missing = len(aligned) - len(row.cells)
    cells = "".join(
        _cell(cell, align, missing + 1 if place == len(row.cells) else 1)
        for place, (cell, align) in enumerate(zip(row.cells, aligned, strict=False), start=1)
    )
    return f"<tr>{row_head(row.name, _note(row.note))}{cells}</tr>"


def _cell(cell: TableCell | str, align: str, columns: int) -> str:
    shown = TableCell(cell) if isinstance(cell, str) else cell
    text = f"<b>{breakable(shown.text)}</b>" if shown.is_bold else breakable(shown.text)
    letters = "" if shown.letters is None else f'<span class="letters">{breakable(shown.letters)}</span>'
    span = f' colspan="{columns}"' if columns > 1 else ""
    return f"<td{_class(align or 'text' * (columns > 1))}{span}>{text}{letters}{_note(shown.note)}</td>"


def _note(text: str) -> str:
    return f'<span class="note">{breakable(text)}</span>' if text else ""


def _class(*names: str) -> str:
    return f' class="{" ".join(filter(None, names))}"' if any(names) else ""
