"""The version of genrec; its one source."""

__version__ = "0.2.0"
