"""Plugins of commands that take no recipe: those of the working folder and of its recipes."""

from pathlib import Path


def find_plugins() -> None:
    """Add ``plugins/`` and ``recipes/plugins/`` of the working folder."""
    from genrec.registry import add_plugin_folder

    add_plugin_folder(Path.cwd() / "plugins")
    add_plugin_folder(Path.cwd() / "recipes" / "plugins")
