"""Records the ranks of the golden recipes, or checks them against what was recorded.

    python tests/golden/record.py [NAME...]           record: all tiny recipes, or those that are named
    python tests/golden/record.py --check [NAME...]   run again and compare; exit status 1 where something differs
    python tests/golden/record.py --from-run NAME DIR record from the folder of a finished run

Beside the tiny recipes NAME can be quickstart (a minute) or best_beauty (most of an hour; needs amazon-beauty under
``--data``). To record anew is to say that numbers were meant to change.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import argparse
import io
import json
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from golden.recipes import TINY  # noqa: E402
from golden.running import (  # noqa: E402
    ENVIRONMENT,
    LARGE,
    RANKS,
    ROOT,
    Ranks,
    differences,
    digested,
    environment,
    is_recorded_environment,
    read_recorded,
    read_run,
    run_recipe,
    run_tiny,
    whole,
)

SHARED = ROOT.parent / "shared" / "data"


def main() -> int:
    """Do what the words of the command say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes; by default all tiny ones")
    parser.add_argument("--check", action="store_true", help="compare, record nothing")
    parser.add_argument("--from-run", nargs=2, metavar=("NAME", "DIR"), help="record from a finished run")
    parser.add_argument("--commit", help="with --from-run: the commit that made the run; by default that of now")
    parser.add_argument("--data", type=Path, default=SHARED, help="where amazon-beauty lies")
    options = parser.parse_args()
    if options.from_run is not None:
        name, folder = options.from_run
        _known([name])
        _write_environment(everything=False)
        _write(name, read_run(Path(folder)), options.commit)
        return 0
    names = options.names or list(TINY)
    _known(names)
    return _check(names, options.data) if options.check else _record(names, options.data)


def _known(names: list[str]) -> None:
    if unknown := [name for name in names if name not in TINY and name not in LARGE]:
        sys.exit(f"no golden recipe {', '.join(unknown)}; there are {', '.join([*TINY, *LARGE])}")


def _record(names: list[str], data: Path) -> int:
    everything = set(TINY) <= set(names)
    _write_environment(everything=everything)
    for name in names:
        start = time.monotonic()
        ranks = _run(name, data)
        if ranks is not None:
            _write(name, ranks)
            print(f"{name}: recorded in {time.monotonic() - start:.1f} s", flush=True)
    return 0


def _check(names: list[str], data: Path) -> int:
    exactly = is_recorded_environment()
    if not exactly:
        print("not the machine or the libraries of the recording: Recall@10 and NDCG@10 are compared, not ranks")
    recorded = {name: read_recorded(name) for name in names}  # before an hour's work, should one be missing
    failed = 0
    for name in names:
        start = time.monotonic()
        ranks = _run(name, data)
        if ranks is None:
            continue
        told = differences(recorded[name], ranks, exactly=exactly)
        verdict = "differs" if told else "equal" if exactly else "near"
        print(f"{name}: {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
        print("".join(f"    {line}\n" for line in told), end="", flush=True)
        failed += bool(told)
    return 1 if failed else 0


def _run(name: str, data: Path) -> Ranks | None:
    """Run a recipe; None where its data is not there."""
    folder = LARGE.get(name)
    if folder is not None and not (data / folder).is_dir():
        print(f"{name}: skipped, there is no {data / folder}; say --data DIR")
        return None
    with TemporaryDirectory() as place:
        if name in LARGE:
            with redirect_stdout(io.StringIO()):
                return run_recipe(ROOT / "recipes" / f"{name}.yaml", Path(place) / "run", data if folder else None)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as told:
            try:
                return run_tiny(TINY[name], Path(place))
            except RuntimeError:
                sys.__stderr__.write(told.getvalue())  # type: ignore[union-attr]
                raise


def _write(name: str, ranks: Ranks, commit: str | None = None) -> None:
    content = {"commit": commit or _commit(), **(digested(ranks) if name in LARGE else whole(ranks))}
    RANKS.mkdir(exist_ok=True)
    (RANKS / f"{name}.json").write_text(_lines(content), encoding="utf-8")


def _write_environment(*, everything: bool) -> None:
    """Write what the numbers depend on, when all are recorded; otherwise it must be as it was."""
    if everything or not ENVIRONMENT.is_file():
        content = {**environment(), "commit": _commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        ENVIRONMENT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    elif not is_recorded_environment():
        sys.exit("the other ranks were recorded on another machine or with other libraries: record all of them")


def _lines(content: dict[str, Any]) -> str:
    """JSON with a line a method, so that a difference shows which one it is."""
    lines = [f" {json.dumps(key)}: {_short(value)}" for key, value in content.items() if key != "methods"]
    methods = [f"  {json.dumps(name)}: {_short(value)}" for name, value in content["methods"].items()]
    lines.append(' "methods": {\n' + ",\n".join(methods) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _short(value: Any) -> str:
    return json.dumps(value, separators=(",", ":") if isinstance(value, list) else None)


def _commit() -> str:
    """The last commit that touched what decides the numbers."""
    decides = ["--", "genrec", "plugins", "recipes"]
    found = subprocess.run(["git", "log", "-1", "--format=%H", *decides], cwd=ROOT, capture_output=True, text=True)
    changed = subprocess.run(["git", "status", "--porcelain", *decides], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


if __name__ == "__main__":
    sys.exit(main())
