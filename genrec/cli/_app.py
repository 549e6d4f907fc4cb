"""Build the command line, and turn exceptions into a message and an exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from genrec.cli._output import allow_any_text, printable
from genrec.cli._verbosity import add_verbosity
from genrec.errors import GenrecError
from genrec.registry import loaded_plugins, plugin_errors
from genrec.runtime.files import reason
from genrec.runtime.progress import set_verbosity, verbosity
from genrec.version import __version__

_FIRST = (
    *(
        "run",
        "compare",
        "reproduce",
        "tokenize",
        "recommend",
        "add-items",
        "export",
        "serve",
        "bench",
        "validate",
        "show",
    ),
    *("list", "schema", "doctor"),
)
"""Commands that the help lists first, in this order; the others follow alphabetically."""

_RESUMABLE = {"run", "compare", "reproduce", "tokenize"}
"""Commands that store finished stages and resume from them."""

_INTERRUPTED = 130
"""Exit status of an interrupted command."""

_ENVIRONMENT = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ESTALE", "EMFILE", "ENFILE")
    if hasattr(errno, name)
}
"""Errors of the operating system that the user can fix: full disks, read-only folders, missing rights."""

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Wrong options and arguments; typer does not export this class by name."""


def verbs() -> list[str]:
    """The names of all commands, in the order of the help."""
    names = sorted(
        file.stem.replace("_", "-") for file in Path(__file__).parent.glob("*.py") if not file.name.startswith("_")
    )
    return sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))


def build_app() -> Callable[..., Any]:
    """The whole command line: a command of click, called with the words after ``genrec``."""
    app = typer.Typer(
        no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    app.callback()(_top)
    for name in verbs():
        module = import_module(f"genrec.cli.{name.replace('-', '_')}")
        if hasattr(module, "app"):  # a command with subcommands
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.command)
    whole = get_command(app)
    add_verbosity(whole)
    return whole


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"genrec {__version__}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Generative retrieval for recommender systems, with any number of streams."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command-line arguments after ``genrec``; default: ``sys.argv[1:]``.

    Returns:
        The exit status: 0 for success, 1 for a bug in genrec, 2 for a user error, 130 for an interruption.
    """
    # Idle threads release their core instead of spinning; OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    allow_any_text()
    words = list(sys.argv[1:] if arguments is None else arguments)
    set_verbosity("normal")
    warnings.filterwarnings("ignore", message="Number of distinct clusters")  # duplicate points are valid input
    try:
        with plugin_errors():
            status = build_app()(words, prog_name="genrec", standalone_mode=False)
        sys.stdout.flush()
        if status == _INTERRUPTED:  # typer returns this for Ctrl-C and prints nothing
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except GenrecError as error:
        if verbosity() == "verbose":
            traceback.print_tb(error.__traceback__)
        print(printable(str(error)), file=sys.stderr)
        return 2
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]
        return 2
    except (KeyboardInterrupt, typer.Abort):
        command = next((word for word in words if not word.startswith("-")), "")
        hint = "; finished stages are stored, and the same command resumes from them" if command in _RESUMABLE else ""
        print(f"interrupted{hint}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the pipe has exited, as in `genrec list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if (text := _of_environment(error)) is None:
            return _bug()
        print(printable(text), file=sys.stderr)
        return 2
    except SystemExit as left:  # completion, and a pipe that was closed while rich or typer wrote to it
        return left.code if isinstance(left.code, int) else 0
    except Exception:
        return _bug()


def _bug() -> int:
    """Print the traceback of the current exception; returns the exit status."""
    traceback.print_exc()
    used = f" (plugins that were used: {', '.join(loaded_plugins())})" if loaded_plugins() else ""
    print(f"\nThis is a bug in genrec {__version__}, not in your input; please report it{used}.", file=sys.stderr)
    return 1


def _of_environment(error: OSError) -> str | None:
    """The message for an error of the operating system; None if it is a bug in genrec."""
    try:
        Path.cwd()
    except OSError:
        return "the working folder was deleted or cannot be read; change to another folder"
    if error.errno not in _ENVIRONMENT:
        return None
    if error.filename is None:
        try:
            print(flush=True)
        except OSError as failed:  # as in `genrec list > /dev/full`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return f"standard output cannot be written: {reason(failed)}"
    return f"{error.filename or 'a file'}: cannot be read or written: {reason(error)}"
