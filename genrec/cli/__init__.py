"""The command line: every file of this folder that does not start with ``_`` is a verb, its ``command`` the work.

A verb's file imports what is heavy inside ``command``, so that ``genrec --help`` stays fast.
"""

# Nothing else may stand here: once the verb ``list`` is imported, the name means that module in this namespace.
from genrec.cli._app import main

__all__ = ["main"]
