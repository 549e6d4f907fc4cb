"""Draw ``docs/quickstart.svg``: what ``genrec run recipes/quickstart.yaml`` prints, for the README.

``python docs/quickstart_svg.py [RUN]`` runs the recipe, which takes about a minute, or loads a finished run of it, and
writes the figure: the conclusion, the table and the next steps. The lines between them, on protocol, tests and notes,
are left out.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

import genrec
from genrec.reporting.report import Report
from genrec.reporting.report_terminal import print_report

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "quickstart.svg"
RECIPE = Path("recipes/quickstart.yaml")
RUN = Path("runs/quickstart")
WIDTH = 155
"""Columns: those of the table."""
_INK, _PAPER = (214, 219, 225), (24, 28, 34)
THEME = TerminalTheme(_PAPER, _INK, [_PAPER, *[_INK] * 7])
"""Dark, and thus readable on a light and on a dark page."""
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def drawing(report: Report) -> str:
    """The report on a terminal as SVG."""
    printed = Console(file=io.StringIO(), width=WIDTH, record=True, force_terminal=True, highlight=False)
    print_report(report, printed, RUN)
    lines = printed.export_text(styles=True).splitlines()
    bare = [Text.from_ansi(line).plain for line in lines]
    end_of_table = next(place for place, line in enumerate(bare) if line.startswith("└"))
    console = Console(file=io.StringIO(), width=WIDTH, record=True)
    for line in (*lines[: end_of_table + 1], "...", *lines[bare.index("Next steps:") :]):
        console.print(Text.from_ansi(line), no_wrap=True, crop=True)
    title = f"genrec run {RECIPE} --output {RUN}"
    svg = console.export_svg(title=title, theme=THEME, unique_id="quickstart")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # fonts from the network
    svg = re.sub(r"font-family: [^;]+;", f"font-family: {FONTS};", svg)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


def main() -> None:
    """Run the recipe, or load the run, and write the figure."""
    if sys.argv[1:]:
        report = genrec.load_run(sys.argv[1]).report
    else:
        with TemporaryDirectory() as folder:
            report = genrec.run(ROOT / RECIPE, folder).report
    FIGURE.write_text(drawing(report), encoding="utf-8")


if __name__ == "__main__":
    main()
