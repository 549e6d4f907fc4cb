"""``genrec recommend``: recommendations of a finished run, for a history or for many users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genrec.cli._options import AsJson, Data, Device

if TYPE_CHECKING:
    from genrec.runtime.threads import Threads
    from genrec.serving.batch.histories import DatasetHistories, FileFormat, FileHistories
    from genrec.serving.batch.scoring import Counts, Settings
    from genrec.serving.recommendations import Recommendation
    from genrec.serving.recommender import Recommender


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished run, or hf://user/name.", show_default=False)
    ],
    history: Annotated[
        list[str] | None,
        typer.Option(
            "--history",
            help="Items of one history, oldest first: keys or titles separated by commas, or the option repeated. "
            "Upper and lower case are the same.",
            show_default=False,
        ),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option("--user", help="A user of the run's dataset, with all items; repeatable.", show_default=False),
    ] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="All users of the run's dataset.")] = False,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="Histories (.parquet, .csv, .jsonl) with the columns user and history (a list of keys), or user and "
            "item (a row for each interaction, all rows of a user together) and optionally timestamp.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write a row for each recommendation to a file (.parquet, .csv, .jsonl), or - for standard output. "
            "An interrupted command resumes from the finished parts in FILE.parts.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Number of items to recommend.")] = 10,
    seen: Annotated[
        Literal["filter", "keep", "recipe"],
        typer.Option("--seen", help="Items of the history: filter leaves them out; recipe: as in the run."),
    ] = "filter",
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            help="Items never to recommend: keys or titles separated by commas, or the option repeated.",
            show_default=False,
        ),
    ] = None,
    exclude_file: Annotated[
        Path | None,
        typer.Option(
            "--exclude-file",
            metavar="FILE",
            help="File of the keys of items never to recommend: one per line, or a JSON list.",
            show_default=False,
        ),
    ] = None,
    merge: Annotated[
        str | None,
        typer.Option(
            "--merge", help="Another merge than the run's, or a stream for the stream alone.", show_default=False
        ),
    ] = None,
    is_explained: Annotated[
        bool, typer.Option("--explain/--no-explain", help="Also give each stream's rank, log-probability and share.")
    ] = True,
    broken_rows: Annotated[
        Literal["error", "skip"],
        typer.Option("--broken-rows", help="Rows of --input that cannot be read, and users that occurred before."),
    ] = "error",
    file_format: Annotated[
        Literal["parquet", "csv", "jsonl"] | None,
        typer.Option("--format", help="Format of --output (default: by its ending, jsonl for -).", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing --output.")] = False,
    data: Data = None,
    device: Device = "auto",
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            metavar="N|auto",
            help="With --output: processes of one thread each, each with a model in memory (auto, the default: one for "
            "each core). Without: number of threads of the model.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recommend the next items for a history or for many users, with each stream's share of the score."""
    from dataclasses import asdict

    from genrec.api.inputs import parse_threads
    from genrec.cli._output import print_json
    from genrec.cli._plugins import find_plugins
    from genrec.errors import DataError
    from genrec.serving.batch.histories import FileHistories
    from genrec.serving.batch.scoring import Settings
    from genrec.serving.recommender import Recommender

    _check_usage(history, user, all_users=all_users, input_file=input_file, output=output, as_json=as_json)
    requested = parse_threads(threads)
    find_plugins()
    recommender = Recommender.load(run, device=device)
    excluded = _excluded(recommender, exclude or [], exclude_file)
    settings = Settings(k, None if seen == "recipe" else seen, excluded, merge, is_explained)
    streams = list(recommender.tries) if is_explained else []
    if history:
        keys = recommender.parse_history(history)
        if not keys:
            raise DataError("--history: found no item, expected at least one key or title")
        items = _recommend(recommender, [keys], settings, requested)[0]
        if as_json:
            print_json([asdict(item) for item in items])
        else:
            names = ", ".join(recommender.titles[recommender.row(key)] or key for key in keys)
            _print_lists({f"after {names}": items}, streams)
        return
    histories = (
        _users_of_dataset(recommender, user, data) if input_file is None else FileHistories(input_file, broken_rows)
    )
    if output is None:
        users = list(histories)
        lists = _recommend(recommender, [found.items for found in users], settings, requested)
        if as_json:
            by_user = zip(users, lists, strict=True)
            print_json({user: [asdict(item) for item in items] for (user, _), items in by_user})
        else:
            _print_lists({f"for user {user}": items for (user, _), items in zip(users, lists, strict=True)}, streams)
        return
    _write(recommender, histories, output, settings, file_format, requested, force=force)


def _check_usage(
    history: list[str] | None,
    user: list[str] | None,
    *,
    all_users: bool,
    input_file: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    given = {"--history": bool(history), "--user": bool(user), "--all-users": all_users, "--input": bool(input_file)}
    names = [name for name, is_given in given.items() if is_given]
    if len(names) != 1:
        found = f"found {' and '.join(names)}, " if names else ""
        raise typer.BadParameter(f"{found}expected one of --history, --user, --all-users and --input")
    if names[0] in ("--all-users", "--input") and output is None:
        raise typer.BadParameter(f"{names[0]} needs --output FILE, or --output - for standard output")
    if history and output is not None:
        raise typer.BadParameter("--output needs --user, --all-users or --input; a single history is printed")
    if as_json and output is not None:
        raise typer.BadParameter("--json is for a table that is printed; pass --format jsonl")


def _users_of_dataset(recommender: Recommender, users: list[str] | None, data: Path | None) -> DatasetHistories:
    from genrec.experiment.dataset import load_dataset
    from genrec.experiment.run_folder import RunFolder
    from genrec.runtime.environment import Environment
    from genrec.serving.batch.histories import DatasetHistories

    environment = RunFolder.open(recommender.path).located(Environment(data=data))
    environment = environment.for_dataset(recommender.recipe.dataset.block())
    return DatasetHistories(load_dataset(recommender.recipe, environment), users)


def _excluded(recommender: Recommender, texts: Sequence[str], file: Path | None) -> tuple[str, ...]:
    """The keys of items that no list may have."""
    from genrec.errors import DataError
    from genrec.formats.keys import examples, read_keys
    from genrec.runtime.files import reason
    from genrec.runtime.progress import console

    keys = recommender.parse_history(texts)
    if file is not None:
        try:
            found = read_keys(file)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {reason(error)}") from None
        unknown = [key for key in found if recommender.names.find(key) is None]
        if unknown:
            shown = f"{len(unknown):,} of {len(found):,} keys are not in the catalog ({examples(unknown)})"
            console.print(f"{file}: {shown}", markup=False)
        keys += [key for key in found if key not in set(unknown)]
    return tuple(dict.fromkeys(keys))


def _recommend(
    recommender: Recommender, histories: list[list[str]], settings: Settings, threads: Threads
) -> Sequence[list[Recommendation]]:
    from genrec.runtime.threads import threads as computing_on
    from genrec.runtime.threads import threads_for

    with computing_on(threads_for(threads, recommender.recipe.block())):
        return recommender.recommend(
            histories,
            settings.k,
            seen=settings.seen,
            exclude=settings.exclude,
            merge=settings.merge,
            explain=settings.explain,
        )


def _print_lists(lists: Mapping[str, list[Recommendation]], streams: Sequence[str]) -> None:
    """Print a table for each list."""
    from genrec.cli._output import print_table

    for title, found in lists.items():
        rows = [
            (str(place), item.key, item.title, f"{item.score:.3f}", *(_vote(item, name) for name in streams))
            for place, item in enumerate(found, start=1)
        ]
        print_table(title, ("#", "key", "title", "score", *streams), rows)
    if streams:
        print("Columns of streams: share of the item's probability, and (#) the item's rank in the stream's own list.")


def _vote(item: Recommendation, stream: str) -> str:
    vote = item.streams.get(stream)
    return "" if vote is None else f"{vote.share:.0%} (#{vote.rank or '-'})"


def _write(
    recommender: Recommender,
    histories: DatasetHistories | FileHistories,
    output: Path,
    settings: Settings,
    file_format: FileFormat | None,
    threads: Threads,
    *,
    force: bool,
) -> None:
    import sys

    from genrec.runtime.progress import console
    from genrec.runtime.threads import cores
    from genrec.serving.batch.recommending import recommend_batch

    is_stream = str(output) == "-"
    counts = recommend_batch(
        recommender,
        histories,
        sys.stdout.buffer if is_stream else output,
        settings,
        file_format=file_format,
        workers=threads if isinstance(threads, int) else cores(),
        force=force,
    )
    where = "standard output" if is_stream else str(output)
    for line in _summary(counts, where):
        console.print(line, markup=False)


def _summary(counts: Counts, where: str) -> list[str]:
    """What was written, and what was skipped."""
    noted = {
        "rows of the input that were skipped": counts.skipped_rows,
        "missing items that were skipped (null, NaN or an empty text)": counts.missing_items,
        "items that were skipped because the catalog has none of this key": counts.unknown_items,
        "users with such items": counts.users_with_unknown_items,
        "users without known items, who got the most popular ones": counts.fallbacks,
        "users without a row, because no item was left for them": counts.users_without_rows,
    }
    from genrec.reporting.texts import count_text

    lines = [f"{where}: {count_text(counts.rows, 'row')} for {count_text(counts.users, 'user')}"]
    lines += [f"{what}: {count:,}" for what, count in noted.items() if count]
    if counts.fallbacks == counts.users and counts.unknown_items:
        lines.append("no item of any history is in the catalog: are these the keys of another dataset?")
    return lines
