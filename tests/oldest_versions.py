"""Runs the fast tests with the lowest versions of the dependencies that ``pyproject.toml`` allows.

    python tests/oldest_versions.py [FOLDER]    a virtual environment in FOLDER, by default in a temporary one

Only what genrec itself needs is held at its lower bound, extras included, not the tools that test it. Exit status: that
of the tests; 3 with a reason where the packages cannot be installed, for example without a package registry.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
FAST = "not slow and not acceptance"


def lower_bounds(project: dict[str, Any]) -> list[str]:
    """``name==version`` for every lower bound of a project's dependencies and extras; those of ``dev`` do not count."""
    extras = project.get("optional-dependencies", {})
    groups = [project["dependencies"], *(extras[name] for name in extras if name != "dev")]
    found = [re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)", line) for group in groups for line in group]
    return list(dict.fromkeys(f"{match[1]}=={match[2]}" for match in found if match))


def main() -> int:
    """Install and test."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        venv.create(folder, with_pip=True)
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(lower_bounds(project)) + "\n", encoding="utf-8")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
        if subprocess.run([*install, "--constraint", constraints, "--editable", f"{ROOT}[dev]"]).returncode:
            print(
                "tests/oldest_versions.py: the lowest versions were not installed (see above): no package registry, "
                "or bounds in pyproject.toml that contradict each other; nothing was tested",
                file=sys.stderr,
            )
            return 3
        return subprocess.run([python, "-m", "pytest", "-m", FAST], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
