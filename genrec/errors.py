"""Errors that the user can fix. Any other exception is a bug in genrec.

The command line prints these errors without a traceback and exits with status 2.
"""

from pathlib import Path


class GenrecError(Exception):
    """An error that the user can fix; its text says where, what was found and what was expected."""


class RecipeError(GenrecError):
    """One or more errors in a recipe, all reported together."""


class PluginError(GenrecError):
    """A plugin that cannot be found, cannot be loaded, raises an exception, or breaks its family's contract."""


class ContractError(PluginError):
    """A component that breaks the contract of its family; the text names its file and the broken sentence."""


REMEDY = "try a lower learning rate, more warm-up steps or a smaller gradient_clip"
"""What to do about a training that diverged."""


class TrainingError(GenrecError):
    """A training that diverged: its loss, its validation score or a log-probability is not finite."""


class DataError(GenrecError):
    """Files that are missing or malformed, or weights that cannot be loaded."""


class StorageError(GenrecError):
    """A file that cannot be written: the disk is full, the folder is read-only or was deleted."""


class ImageError(DataError):
    """An image file that cannot be read."""

    def __init__(self, path: Path, kind: str, problem: str, advice: str) -> None:
        super().__init__(f"{path}: {problem}; {advice}")
        self.name = path.name
        """The file's name."""
        self.kind = kind
        """What is wrong in a word or two: missing, empty, truncated, too large, not an image, damaged."""
