"""A file, text or mapping -> a checked :class:`Recipe`, or one error with all problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genrec.errors import RecipeError
from genrec.families import plain
from genrec.recipe.blocks import Assembly
from genrec.recipe.consistency import disagreements
from genrec.recipe.overrides import apply
from genrec.recipe.problems import InvalidRecipeError, did_you_mean
from genrec.recipe.schema import Recipe
from genrec.recipe.source import MAX_CHARACTERS, Source, read
from genrec.registry import add_plugin_folder, is_in_run
from genrec.runtime.checksums import verify


def load_recipe(path: str | Path, overrides: Sequence[str] = (), *, trust_plugins: bool = False) -> Recipe:
    """Load and check a recipe; plugins are loaded from ``plugins/`` beside it and in the working folder.

    Args:
        path: a YAML file.
        overrides: ``a.b.c=value`` each, see :mod:`genrec.recipe.overrides`.
        trust_plugins: also load plugins from the folder of a run, which may come from someone else.

    Raises:
        RecipeError: the file cannot be read, or there are plugins in the folder of a run that are not trusted.
        DataError: the file is in the folder of a finished run and was changed.
        InvalidRecipeError: the recipe is not valid; the error lists all problems.
    """
    path = Path(path)
    text = _text(verify(path))
    for folder in (path.resolve().parent, Path.cwd()):
        _add_plugins(folder / "plugins", trusted=trust_plugins)
    return parse_recipe(text, name=str(path), overrides=overrides)


def load_recipe_of_run(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load and check the recipe in the folder of a run; nothing in that folder is imported.

    Args:
        path: the recipe in the folder of the run.
        overrides: as in :func:`load_recipe`.

    Raises:
        RecipeError: the file cannot be read.
        DataError: the file was changed after the run.
        InvalidRecipeError: the recipe is not valid, e.g. because a plugin is missing; the error lists all problems.
    """
    plugins = Path.cwd() / "plugins"
    add_plugin_folder(plugins)
    hint = f"; the run had it from a plugin: put the file that registers it into {plugins}"
    return _checked(read(_text(verify(path)), str(path)), overrides, hint)


def parse_recipe(text: str, *, name: str = "recipe", overrides: Sequence[str] = ()) -> Recipe:
    """Check a recipe given as YAML text; messages use ``name`` in place of a file.

    Raises:
        InvalidRecipeError: the recipe is not valid; the error lists all problems.
    """
    return _checked(read(text, name), overrides)


def recipe_of(block: Mapping[str, Any], *, name: str = "recipe", overrides: Sequence[str] = ()) -> Recipe:
    """Check a recipe given as plain data, e.g. from :meth:`Recipe.block`.

    Raises:
        InvalidRecipeError: the recipe is not valid; the error lists all problems.
    """
    return _checked(Source(name, plain(dict(block))), overrides)


def _add_plugins(folder: Path, *, trusted: bool) -> None:
    """Make the plugins of a folder known.

    Raises:
        RecipeError: they are in the folder of a run and not trusted.
    """
    code = [file.name for file in sorted(folder.glob("*.py"))] if is_in_run(folder) and not trusted else []
    if code:
        raise RecipeError(
            f"{folder}: found plugins ({', '.join(code)}) in the folder of a run, which may come from someone else; "
            "expected plugins/ in the working folder: move them there, or pass --trust-plugins to `run` or `validate` "
            "to execute their code"
        )
    add_plugin_folder(folder, trusted=trusted)


def _checked(source: Source, overrides: Sequence[str], hint: str = "") -> Recipe:
    apply(source, overrides)
    assembly = Assembly(source, hint)
    recipe = assembly.build(Recipe, source.data, ())
    problems = [*source.problems, *assembly.problems, *disagreements(source, assembly.built)]
    if problems:
        raise InvalidRecipeError(problems)
    return recipe


def _text(path: Path) -> str:
    if path.is_dir():
        raise RecipeError(f"{path}: found a folder, expected a recipe: a YAML file")
    most = 4 * MAX_CHARACTERS  # bytes; a device file may have no end
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise RecipeError(
                f"{path}: found more than {most} bytes, expected a recipe of at most {MAX_CHARACTERS} characters"
            )
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        there = [str(path.with_name(file.name)) for file in sorted(path.parent.glob("*.y*ml"))]
        raise RecipeError(f"{path}: no such file, expected a recipe{did_you_mean(str(path), there)}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text (byte {error.start}), expected a recipe in YAML") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
