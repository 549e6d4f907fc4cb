"""``genrec recommend``: recommendations of a finished run for a history."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from genrec.cli._options import AsJson, Device, ThreadCount


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished run, or hf://user/name.", show_default=False)
    ],
    history: Annotated[
        list[str],
        typer.Option(
            "--history",
            help="Items of the history, oldest first: keys or titles separated by commas, or the option repeated. "
            "Upper and lower case are the same.",
            show_default=False,
        ),
    ],
    k: Annotated[int, typer.Option("--k", min=1, help="Number of items to recommend.")] = 10,
    seen: Annotated[
        Literal["filter", "keep", "recipe"],
        typer.Option("--seen", help="Items of the history: filter leaves them out; recipe: as in the run."),
    ] = "filter",
    device: Device = "auto",
    threads: ThreadCount = None,
    as_json: AsJson = False,
) -> None:
    """Recommend the next items for a history, with each stream's share of the score."""
    from dataclasses import asdict

    from genrec.api.inputs import parse_threads
    from genrec.cli._output import print_json, print_table
    from genrec.cli._plugins import find_plugins
    from genrec.errors import DataError
    from genrec.runtime.threads import threads as computing_on
    from genrec.runtime.threads import threads_for
    from genrec.serving.recommender import Recommender

    requested = parse_threads(threads)
    find_plugins()
    recommender = Recommender.load(run, device=device)
    with computing_on(threads_for(requested, recommender.recipe.block())):
        history = recommender.parse_history(history)
        if not history:
            raise DataError("--history: found no item, expected at least one key or title")
        found = recommender.recommend([history], k, seen=None if seen == "recipe" else seen)[0]
    if as_json:
        print_json([asdict(item) for item in found])
        return
    names = (recommender.titles[recommender.row(name)] or name for name in history)
    rows = [
        (
            str(place),
            item.key,
            item.title,
            f"{item.score:.3f}",
            *(f"{vote.share:.0%} (#{vote.rank or '-'})" for vote in item.streams.values()),
        )
        for place, item in enumerate(found, start=1)
    ]
    print_table(f"after {', '.join(names)}", ("#", "key", "title", "score", *recommender.tries), rows)
    print("Columns of streams: share of the item's probability, and (#) the item's rank in the stream's own list.")
