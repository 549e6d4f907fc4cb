"""All results in Markdown, the newest of each benchmark: ``python benchmarks/tables.py [--readme]``.

Results are the JSON files that the benchmarks write into ``benchmarks/results`` by ``--output``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from _results import Result

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- results: written by tables.py -->", "<!-- end of results -->"


def newest(folder: Path) -> list[Result]:
    """The latest result of each benchmark, in the order of their names."""
    found: dict[str, Result] = {}
    for path in folder.glob("*.json"):
        result = Result.load(path)
        known = found.get(result.benchmark)
        if known is None or result.conditions["date"] > known.conditions["date"]:
            found[result.benchmark] = result
    return [found[name] for name in sorted(found)]


def with_results(text: str, results: Sequence[Result]) -> str:
    """A page with what stands between its two marks replaced by the results.

    Raises:
        ValueError: the page does not have both marks once, in their order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in tail:
        raise ValueError(f"expected one line {BEGIN} and below it one line {END}")
    sections = [f"### {result.benchmark}\n\n{result.as_markdown()}" for result in results]
    return head + "\n\n".join([begin, *sections, end]) + tail


def main() -> None:
    """Print, or write into README.md in this folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="the folder with the JSON files")
    parser.add_argument("--readme", action="store_true", help="replace the tables in README.md in this folder")
    arguments = parser.parse_args()
    results = newest(arguments.results)
    if arguments.readme:
        readme = FOLDER / "README.md"
        readme.write_text(with_results(readme.read_text(encoding="utf-8"), results), encoding="utf-8")
    else:
        print("\n\n".join(result.as_markdown() for result in results))


if __name__ == "__main__":
    main()
