"""``--quiet`` and ``--verbose``, which every command accepts, before its name and after it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.main import get_command


def add_verbosity(command: Any) -> None:
    """Add both options to a command of click and to all commands below it.

    They are no parameters of the commands' functions: they set what the process shows.
    """
    command.params += _options()
    for below in getattr(command, "commands", {}).values():
        add_verbosity(below)


def _options() -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_take)
    return get_command(app).params


def _set(context: typer.Context, parameter: typer.CallbackParam, is_given: bool) -> None:
    if not is_given or context.resilient_parsing:  # completion parses, but runs nothing
        return
    from genrec.runtime.progress import Verbosity, set_verbosity

    level: Verbosity = "quiet" if parameter.name == "quiet" else "verbose"
    if context.meta.setdefault("genrec.verbosity", level) != level:
        raise typer.BadParameter("found both --quiet and --verbose, expected one of them")
    set_verbosity(level)


def _take(
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", callback=_set, expose_value=False, help="Print results and errors only."),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            callback=_set,
            expose_value=False,
            help="Also print files, cache keys and times of each stage, and tracebacks.",
        ),
    ] = False,
) -> None:
    """Declares the options."""
