"""The user's mistakes. Whatever else is raised is a bug of genrec's.

The command line prints these without a traceback and exits with 2.
"""


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
