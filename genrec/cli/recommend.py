"""``genrec recommend``: what a finished run would recommend after some items."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import AsJson, Device


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.", show_default=False)],
    history: Annotated[
        list[str],
        typer.Option(
            "--history",
            help="An item by key or title, oldest first; repeat the option for more items.",
            show_default=False,
        ),
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="How many items.")] = 10,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Recommend the next items, with each stream's share of the score."""
    import json
    from dataclasses import asdict

    from genrec.serving.recommender import Recommender

    recommender = Recommender(run, device=device)
    found = recommender.recommend([history], top_n=top)[0]
    if as_json:
        typer.echo(json.dumps([asdict(item) for item in found], indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"after {', '.join(recommender.titles[recommender.row(name)] or name for name in history)}")
    for heading in ("#", "key", "title", "score"):
        table.add_column(heading, justify="right" if heading in ("#", "score") else "left")
    for name in recommender.tries:
        table.add_column(name, justify="right")
    for place, item in enumerate(found, start=1):
        votes = [f"{vote.share:.0%} (#{vote.rank or '-'})" for vote in item.streams.values()]
        table.add_row(str(place), item.key, item.title, f"{item.score:.3f}", *votes)
    Console(highlight=False).print(table)
    typer.echo("Under each stream: its share of the item's probability, and the item's place in its own list.")
