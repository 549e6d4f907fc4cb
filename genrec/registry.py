"""Registries: from a name in a recipe to a class.

A component comes from a file of the core (``genrec/<folder>/<name>.py``), a file in a ``plugins`` folder, or an entry
point ``genrec.<family>`` of an installed package. Files are parsed but not imported for listing; only components that a
recipe names are imported.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from genrec.errors import GenrecError, PluginError

C = TypeVar("C")
T = TypeVar("T")

_CORE = Path(__file__).parent
_FILE_PREFIX = "genrec_plugin_"
"""Start of the module names of plugin files."""
_MAX_IMPORTS = 5
"""Modules that are read to find the docstring of an entry point's class, from one import to the next."""
_plugin_folders: list[Path] = []
_plugin_packages: set[str] = set()
"""Top-level names of installed packages from which a plugin was loaded."""
_plugin_sources: dict[str, bytes] = {}
"""Module name of a plugin file -> its content when it was imported."""


def add_plugin_folder(folder: Path, *, trusted: bool = False) -> None:
    """Make every registry find the plugins in ``folder/*.py``; imports nothing.

    Plugins in the folder of a run, which may come from someone else, are ignored unless they are ``trusted``.
    """
    folder = folder.resolve()
    if folder.is_dir() and folder not in _plugin_folders and (trusted or not is_in_run(folder)):
        _plugin_folders.append(folder)


def is_in_run(folder: Path) -> bool:
    """Whether a folder is directly in the folder of a run, which has a ``run.json``."""
    return (folder.parent / "run.json").is_file()


def plugin_folders() -> list[Path]:
    """The folders that are searched for plugins."""
    return list(_plugin_folders)


def plugin_files() -> list[Path]:
    """Every plugin file, in a fixed order."""
    return [file for folder in _plugin_folders for file in sorted(folder.glob("*.py"))]


@dataclass(frozen=True)
class Entry:
    """A component found without importing it."""

    family: str
    name: str
    summary: str
    """First line of the class's docstring."""
    origin: str
    """``core``, the file of the plugin, or the installed package."""
    file: Path | None
    target: str | None = None
    """``module:Class`` of an entry point."""
    problem: str | None = None
    """Why the file cannot be parsed as Python; ``name`` is then the stem of the file."""


class Registry(Generic[C]):
    """All components of one family, by name."""

    def __init__(self, family: str, singular: str, folder: str = "") -> None:
        self.family = family
        """Plural name: of the registry, the entry point group and by default the folder."""
        self.singular = singular
        """Singular name for messages, e.g. "item encoder"."""
        self.folder = folder or family
        """Folder of the core's files below ``genrec/``; by default the name of the family."""
        self._classes: dict[str, type[C]] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator: register the class as ``name``.

        Raises:
            PluginError: another class has this name.
        """

        def decorate(cls: type[T]) -> type[T]:
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise PluginError(
                    f"{self.singular} {name!r} is registered twice: {inspect.getfile(known)} and "
                    f"{inspect.getfile(cls)}; rename one of them"
                )
            cls.type_name = name  # type: ignore[attr-defined]
            self._classes[name] = cls  # type: ignore[assignment]
            return cls

        return decorate

    def entries(self) -> list[Entry]:
        """Every component: core first, then plugins, then packages; unreadable plugin files included."""
        found: list[Entry] = []
        for file in sorted((_CORE / self.folder).glob("*.py")):
            if not file.name.startswith("_"):
                found += [_entry(self.family, file, "core", *hit) for hit in _registrations(file).get(self.family, ())]
        return [*found, *plugin_entries(self.family)]

    def names(self) -> list[str]:
        """The names of :meth:`entries` without unreadable files."""
        return sorted({entry.name for entry in self.entries() if entry.problem is None} | set(self._classes))

    def get(self, name: str) -> type[C]:
        """The class with this name; its file is imported on first use.

        Raises:
            PluginError: the name is unknown or registered twice, or its file fails to load.
        """
        entries = [entry for entry in self.entries() if entry.name == name and entry.problem is None]
        if len({(entry.file, entry.target) for entry in entries}) > 1:
            places = " and ".join(str(entry.file or entry.origin) for entry in entries)
            raise PluginError(f"{self.singular} {name!r} is registered twice: {places}; rename one of them")
        if name not in self._classes:
            if not entries:
                raise PluginError(f"unknown {self.singular} {name!r}, expected one of {', '.join(self.names())}")
            self._load(entries[0])
        return self._classes[name]

    def _load(self, entry: Entry) -> None:
        if entry.origin == "core":
            importlib.import_module(f"genrec.{self.folder.replace('/', '.')}.{_path(entry).stem}")
        else:
            load_entry(entry, lambda found: self.register(entry.name)(found))
        if entry.name not in self._classes:
            raise PluginError(f"{entry.origin}: this file was loaded but registered no {self.singular} {entry.name!r}")


def plugin_entries(family: str) -> list[Entry]:
    """The components of a family in plugin files, then in installed packages; unreadable plugin files included."""
    found: list[Entry] = []
    for file in plugin_files():
        registrations = _registrations(file)
        if problem := registrations.get("", ()):
            found.append(Entry(family, file.stem, "", shown_path(file), file, problem=problem[0][0]))
        found += [_entry(family, file, shown_path(file), *hit) for hit in registrations.get(family, ())]
    for point in _entry_points(f"genrec.{family}", tuple(sys.path)):
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "package"
        summary = _summary_of(point.value, tuple(sys.path)) or f"entry point {point.value}"
        found.append(Entry(family, point.name, summary, package, None, point.value))
    return found


def load_entry(entry: Entry, register: Callable[[Any], object]) -> None:
    """Import a plugin.

    Args:
        entry: one of :func:`plugin_entries`.
        register: called with the object that an entry point names; a plugin file registers its components itself.

    Raises:
        PluginError: the import fails; the text names the file and the line.
    """
    try:
        if entry.target is not None:
            module, _, attribute = entry.target.partition(":")
            _plugin_packages.update({module.partition(".")[0]} - {"genrec"})
            register(getattr(importlib.import_module(module), attribute))
        else:
            load_plugin(_path(entry))
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(_blame(entry, error)) from error


def load_plugin(file: Path) -> None:
    """Import a plugin file, once."""
    digest = hashlib.blake2b(str(file.resolve()).encode(), digest_size=4).hexdigest()
    name = f"{_FILE_PREFIX}{file.stem}_{digest}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _plugin_sources[name] = file.read_bytes()
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def check_unchanged(part: Any) -> None:
    """Check that a class or function of a plugin file is what the file says now: a process imports a file once.

    Raises:
        PluginError: the file was edited after this process imported it.
    """
    source = _plugin_sources.get(part.__module__)
    file = Path(inspect.getfile(part)) if source is not None else None
    if file is not None and file.is_file() and file.read_bytes() != source:
        raise PluginError(
            f"{shown_path(file)}: edited after this process imported it; restart Python, or the kernel of the notebook"
        )


@contextmanager
def plugin_errors() -> Iterator[None]:
    """Report what goes wrong in a plugin as an error of the plugin; wrap it around work that calls components.

    An exception that passed through the code of a plugin, also one that genrec or a library raised when the plugin
    called it, becomes a :class:`PluginError` with the plugin's file and line. Errors that the user can fix
    (:class:`GenrecError`), interruptions, and exceptions of genrec itself pass unchanged.

    Raises:
        PluginError: a plugin raised an exception, or ended the process (SystemExit).
    """
    try:
        yield
    except GenrecError:
        raise
    except (Exception, SystemExit) as error:
        place = plugin_line(error)
        if place is None:
            raise
        raise PluginError(f"{place}: the plugin raised {error_text(error)}") from error


def plugin_line(error: BaseException) -> str | None:
    """``file:line`` of the innermost line of a plugin that an exception passed through; None if there is none."""
    found = _innermost(error, _is_plugin)
    return plugin_line(error.__cause__) if found is None and error.__cause__ is not None else found


def line_in(module: str, error: BaseException) -> str | None:
    """``file:line`` of the innermost line of a module that an exception passed through; None if there is none."""
    return _innermost(error, lambda name: name == module)


def loaded_plugins() -> list[str]:
    """The plugin files and packages that were imported, for messages."""
    files = [module.__file__ for name, module in list(sys.modules.items()) if name.startswith(_FILE_PREFIX)]
    return [*(shown_path(Path(file)) for file in files if file), *sorted(_plugin_packages)]


def place_of(part: Any) -> str:
    """``file:line`` where a class or function is defined; the name of its module if that has no file."""
    try:
        return f"{shown_path(Path(inspect.getfile(part)))}:{inspect.getsourcelines(part)[1]}"
    except (OSError, TypeError):  # for example in a notebook
        return str(part.__module__)


def shown_path(file: Path) -> str:
    """A path for messages: relative to the working folder if it is inside."""
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def error_text(error: BaseException) -> str:
    """The type and the text of an exception, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _innermost(error: BaseException, is_wanted: Callable[[str], bool]) -> str | None:
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        module, file = str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename
        if is_wanted(module) and not file.startswith("<"):
            found = f"{shown_path(Path(file))}:{line}"
    return found


def _is_plugin(module: str) -> bool:
    return module.startswith(_FILE_PREFIX) or module.partition(".")[0] in _plugin_packages


def _registrations(file: Path) -> dict[str, list[tuple[str, str]]]:
    """Family -> (name, summary) of every ``@<family>.register("name")`` in a file; the key "" holds a syntax error.

    Components are classes, metrics are functions.
    """
    try:
        state = file.stat()
        return _scan(file, state.st_mtime_ns, state.st_size)
    except OSError as error:
        return {"": [(f"{file}: cannot be read: {error.strerror}", "")]}


@cache
def _scan(file: Path, mtime_ns: int, size: int) -> dict[str, list[tuple[str, str]]]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte
        line = getattr(error, "lineno", None)
        return {"": [(f"{file}:{line or 1}: not valid Python: {getattr(error, 'msg', error)}", "")]}
    found: dict[str, list[tuple[str, str]]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            match decorator:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=family) | ast.Attribute(attr=family), attr="register"),
                    args=[ast.Constant(value=str(name)), *_],
                ) if isinstance(node, ast.FunctionDef) == (family == "metrics"):
                    summary = (ast.get_docstring(node) or "").partition("\n")[0]
                    found.setdefault(family, []).append((name, summary))
    return found


@cache
def _entry_points(group: str, search_path: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    """Entry points of installed packages, sorted by name; cached for each ``sys.path`` because reading all is slow."""
    points = importlib.metadata.entry_points(group=group)
    return tuple(sorted(points, key=lambda point: (point.name, point.value)))


@cache
def _summary_of(target: str, search_path: tuple[str, ...]) -> str:
    """First line of the docstring of what an entry point names, read without an import; "" if it is not found."""
    module, _, name = target.partition(":")
    for _ in range(_MAX_IMPORTS):
        file = _module_file(module)
        try:
            tree = ast.parse(file.read_bytes()) if file else ast.Module([], [])
        except (OSError, SyntaxError, ValueError):
            return ""
        found = next((node for node in tree.body if name in _defined_names(node)), None)
        if not isinstance(found, ast.ImportFrom):
            is_documented = isinstance(found, ast.ClassDef | ast.FunctionDef)
            return (ast.get_docstring(found) or "").partition("\n")[0] if is_documented else ""
        package = module.split(".") if file and file.stem == "__init__" else module.split(".")[:-1]
        above = package[: len(package) - found.level + 1] if found.level else []
        name = next(alias.name for alias in found.names if name == (alias.asname or alias.name))
        module = ".".join([*above, *filter(None, [found.module])])
    return ""


def _defined_names(node: ast.stmt) -> list[str]:
    """The names that a class, a function or an import of names defines."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            return [name]
        case ast.ImportFrom(names=aliases):
            return [alias.asname or alias.name for alias in aliases]
    return []


def _module_file(module: str) -> Path | None:
    """The file of a module, found without importing it or its package."""
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not below:
        return Path(spec.origin) if spec.origin else None
    bases = [Path(folder).joinpath(*below) for folder in spec.submodule_search_locations or ()]
    files = [file for base in bases for file in (base.with_name(f"{base.name}.py"), base / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


def _path(entry: Entry) -> Path:
    assert entry.file is not None
    return entry.file


def _entry(family: str, file: Path, origin: str, name: str, summary: str) -> Entry:
    return Entry(family, name, summary, origin, file)


def _blame(entry: Entry, error: BaseException) -> str:
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if str(entry.file) == frame.filename]
    line = lines[-1].lineno if lines else getattr(error, "lineno", None)
    where = f"{entry.file}:{line}" if entry.file and line else str(entry.file or entry.origin)
    return f"{where}: the plugin {entry.name!r} cannot be loaded: {error_text(error)}"
