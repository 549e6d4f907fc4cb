"""A self-contained page: no network, no script, light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from genrec.reporting.html_tables import breakable, table_style
from genrec.reporting.texts import plain

Section = tuple[str, str, str]
"""Id, heading and content as HTML; a section without content is left out."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may load and run: styles and images of the page itself."""


def document(title: str, header: str, sections: Iterable[Section], footer: str, *, styles: Iterable[str] = ()) -> str:
    """The whole page.

    Args:
        title: any text.
        header: as HTML.
        sections: in order.
        footer: any text.
        styles: names of further style sheets of this package.
    """
    sheets = (files("genrec.reporting").joinpath(name).read_text(encoding="utf-8") for name in ("page.css", *styles))
    shown = "\n".join(
        f'<section aria-label="{escape(heading)}"><h2 id="{slug}">{escape(heading)}</h2>\n{content}\n</section>'
        for slug, heading, content in sections
        if content
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(plain(title))}</title>\n<style>\n{table_style()}{''.join(sheets)}</style>\n</head>\n<body>\n"
        f"{header}\n<main>\n{shown}\n</main>\n<footer>{escape(footer)}</footer>\n</body>\n</html>\n"
    )


def list_element(texts: Iterable[str]) -> str:
    """Texts of any origin as a list; empty if there are none."""
    items = "".join(f"<li>{breakable(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""
