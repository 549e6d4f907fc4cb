"""The user's mistakes. Whatever else is raised is a bug of genrec's.

The command line prints these without a traceback and exits with 2.
"""

from pathlib import Path


class GenrecError(Exception):
    """A mistake that the user can mend; its text says where, what was found and what was expected."""


class RecipeError(GenrecError):
    """One or more mistakes in a recipe, all reported together."""


class PluginError(GenrecError):
    """A plugin that cannot be found, cannot be loaded, or breaks its family's contract."""


class TrainingError(GenrecError):
    """A training that ran away: its loss or its validation is no longer a number."""


class DataError(GenrecError):
    """Files that are missing or malformed, or weights that cannot be had."""


class ImageError(DataError):
    """An image file that gives no image."""

    def __init__(self, path: Path, kind: str, problem: str, advice: str) -> None:
        super().__init__(f"{path}: {problem}; {advice}")
        self.name = path.name
        """The file's name."""
        self.kind = kind
        """What is wrong in a word or two: missing, empty, truncated, too large, not an image, damaged."""
