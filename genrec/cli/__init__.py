"""The command line: every file in this folder without a leading ``_`` is a command, implemented by its ``command``.

Heavy imports stand inside ``command``, so that ``genrec --help`` stays fast.
"""

# Import nothing else here: after the command ``list`` is imported, ``list`` names that module in this namespace.
from genrec.cli._app import main

__all__ = ["main"]
