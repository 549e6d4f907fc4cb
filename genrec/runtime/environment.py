"""Where a run computes and where it finds its files: a value that is passed along, never a global."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import CoreSchema, core_schema

from genrec.errors import DataError, GenrecError

if TYPE_CHECKING:
    import torch


class InputFile(str):
    """The type of a component's field that names a file or folder to be read.

    Its content is part of the cache key of what the component computes, and :meth:`Environment.find` locates it:
    plugin authors write neither.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        text = core_schema.no_info_before_validator_function(_as_text, core_schema.str_schema(min_length=1))
        return core_schema.no_info_after_validator_function(cls, text)


def _as_text(name: Any) -> Any:
    return str(name) if isinstance(name, Path) else name


@dataclass(frozen=True)
class Environment:
    """Device, threads and folders of a run.

    Raises:
        GenrecError: torch knows no such device, or this machine has none (when :attr:`torch_device` is read).
    """

    device: str = "auto"
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    threads: int | None = None
    """Threads of torch; None leaves torch's own choice."""
    data: Path | None = None
    """The data folder: ``--data``, ``GENREC_DATA``, or what :meth:`for_dataset` finds."""
    recipe: Path | None = None
    """The folder of the recipe."""

    @property
    def torch_device(self) -> torch.device:
        """The device that :attr:`device` means on this machine."""
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def check_device(self) -> None:
        """Allocate one number on the device.

        Raises:
            GenrecError: torch knows no such device, or this machine has none.
        """
        if self.device == "auto":
            return
        import torch

        try:
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise GenrecError(
                f"--device {self.device}: cannot be used ({reason}); "
                "expected auto, cpu, or a device that `genrec doctor` shows"
            ) from error

    def for_dataset(self, block: Mapping[str, Any]) -> Environment:
        """The environment with the data folder of a dataset.

        If none is given, that is ``data/`` beside the recipe or the folder of the recipe: the first that contains a
        file or folder that the block names. If neither does, it is ``data/`` if it exists, else there is none.

        Args:
            block: the dataset block of the recipe, with all defaults.
        """
        if self.data is not None or self.recipe is None:
            return self
        beside = self.recipe / "data"
        names = [value for key, value in block.items() if key != "type" and isinstance(value, str) and value]
        found = next((place for place in (beside, self.recipe) if any((place / name).exists() for name in names)), None)
        return replace(self, data=found or (beside if beside.is_dir() else None))

    def folders(self) -> dict[str, str | None]:
        """The absolute folders of data and recipe, for ``run.json``."""
        named = {"data": self.data, "recipe": self.recipe}
        return {name: None if folder is None else str(folder.expanduser().absolute()) for name, folder in named.items()}

    def locate(self, name: str) -> Path | None:
        """A file or folder as named, in the recipe's folder or in the data folder; None if it is in none of them."""
        path = Path(name).expanduser()
        places = [path, *(folder / path for folder in self._folders)]
        return next((place for place in places if place.exists()), None)

    def find(self, name: str) -> Path:
        """As :meth:`locate`.

        Raises:
            DataError: it is in none of these places.
        """
        found = self.locate(name)
        if found is None:
            raise DataError(f"{name}: no such file or folder, looked in {self.places}")
        return found

    def find_file(self, name: str) -> Path:
        """As :meth:`find`, where a folder will not do.

        Raises:
            DataError: it is in none of these places, or is a folder.
        """
        found = self.find(name)
        if found.is_dir():
            raise DataError(f"{found}: is a folder, expected a file")
        return found

    @property
    def places(self) -> str:
        """The folders that :meth:`locate` searches, as text for messages."""
        places = ", ".join(map(str, dict.fromkeys([Path.cwd(), *self._folders])))
        return places if self.data else f"{places} (no data folder: pass --data DIR or set GENREC_DATA)"

    @property
    def _folders(self) -> list[Path]:
        return [folder.expanduser() for folder in (self.recipe, self.data) if folder is not None]


THIS_MACHINE = Environment()
"""The default: what this machine has, and no data folder."""


@dataclass(frozen=True)
class WorkContext:
    """What a component gets besides its data.

    Attributes:
        seed: of this very work; components that draw random numbers derive all of them from it.
        environment: device, threads and folders.
        folder: for this very work (component, data, seed) and no other. What is finished may be stored there and is
            found again after an interruption; removed when the result is stored. It need not exist. None: store
            nothing.
    """

    seed: int = 0
    environment: Environment = field(default_factory=Environment)
    folder: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return self.environment.torch_device

    def find(self, name: str) -> Path:
        """The path of an :class:`InputFile`.

        Raises:
            DataError: it is neither as named, nor in the recipe's folder, nor in the data folder.
        """
        return self.environment.find(name)

    def find_file(self, name: str) -> Path:
        """As :meth:`find`, where a folder will not do.

        Raises:
            DataError: it is in none of these places, or is a folder.
        """
        return self.environment.find_file(name)
