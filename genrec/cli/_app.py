"""Assembles the verbs, and turns what they raise into a message and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from genrec import __version__
from genrec.cli._output import printable
from genrec.errors import GenrecError

_FIRST = ("run", "compare", "tokenize", "bench", "validate", "show", "list", "schema", "doctor")
"""Verbs that help names first, in this order; the others follow by name."""

_GO_ON = {"run", "compare", "tokenize"}
"""Verbs that keep what they have finished."""

_INTERRUPTED = 130
"""The exit status of whatever the user broke off."""

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Wrong options and arguments; typer exports no other name for it."""


def verbs() -> list[str]:
    """The names of all verbs, in the order of the help."""
    names = sorted(file.stem for file in Path(__file__).parent.glob("*.py") if not file.name.startswith("_"))
    return sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))


def build_app() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_top)
    for name in verbs():
        module = import_module(f"genrec.cli.{name}")
        if hasattr(module, "app"):  # a verb with verbs of its own
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"genrec {__version__}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Generative retrieval for recommender systems, with any number of streams."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after ``genrec``; those of the process by default.

    Returns:
        The exit status: 0, 2 for a mistake of the user's, 1 for one of genrec's, 130 when interrupted.
    """
    # Threads that wait give their core to others instead of spinning on it; read by OpenMP when torch loads it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.filterwarnings("ignore", message="Number of distinct clusters")  # points that repeat are nobody's mistake
    try:
        status = build_app()(words, prog_name="genrec", standalone_mode=False)
        sys.stdout.flush()
        if status == _INTERRUPTED:  # what typer makes of Ctrl-C, without a word
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except GenrecError as error:
        print(printable(str(error)), file=sys.stderr)
        return 2
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]
        return 2
    except (KeyboardInterrupt, typer.Abort):
        goes_on = "; finished parts are kept, and the same command goes on from there" if _GO_ON & {*words[:1]} else ""
        print(f"interrupted{goes_on}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `genrec list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:
        traceback.print_exc()
        print(
            f"\nThis is a bug of genrec's ({__version__}), not a mistake of yours: please report it.", file=sys.stderr
        )
        return 1
