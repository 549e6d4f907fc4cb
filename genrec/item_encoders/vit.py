"""Item images through the image encoder of a CLIP model (Radford et al. 2021), as open_clip has them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.errors import DataError
from genrec.families import item_encoders
from genrec.item_encoders._weights import package_folders
from genrec.item_encoders.images.encoder import ImageEncoder
from genrec.item_encoders.images.weights import (
    SUFFIXES,
    are_random,
    demand_reachable,
    find_weights,
    read_config,
    weights_files,
)
from genrec.runtime.environment import Environment

if TYPE_CHECKING:
    from genrec.item_encoders.images.backbone import Backbone

_CONFIG = "open_clip_config.json"
_HUB = "hf-hub:"


@item_encoders.register("vit")
class Vit(ImageEncoder):
    """Vectors of the items' images from the image encoder of a CLIP model."""

    model: str = "ViT-B-16"
    """A model of open_clip, ``hf-hub:<name>``, a folder with ``open_clip_config.json`` and
    ``open_clip_model.safetensors``, or ``package:<module>`` for a Python package that carries such a folder."""
    pretrained: str = "openai"
    """A pretraining tag of open_clip for the model, or a weights file; folders and names on the hub have their own
    weights. OpenAI's own file belongs to the models whose name ends in ``-quickgelu``."""

    def input_files(self, environment: Environment) -> tuple[Path, ...]:
        """The weights, where they are on this machine, and the configuration beside them."""
        file = self._file(environment)
        return () if file is None else weights_files(file)

    def notes(self, environment: Environment) -> tuple[str, ...]:
        file, folder = self._file(environment), self._folder(environment)
        if file is not None and are_random(file):
            return (f"the weights of {self.model if folder else self.pretrained} are random",)
        return ()

    def _folder(self, environment: Environment) -> Path | None:
        """The model's folder, where ``model`` is one.

        Raises:
            DataError: it is not there, or holds no open_clip model.
        """
        if self.model.startswith("package:"):
            roots = package_folders(self.model.removeprefix("package:"))
            folders = sorted(file.parent for root in roots for file in root.rglob(_CONFIG))
            if not folders:
                raise DataError(f"{self.model}: no folder of {roots[0]} holds a model (an {_CONFIG})")
            return folders[0]
        if self.model.startswith(_HUB):
            return None
        found = environment.locate(self.model)
        if found is not None and found.is_dir():
            if not (found / _CONFIG).is_file():
                raise DataError(
                    f"{found}: {_CONFIG} is missing; expected a folder with {_CONFIG} and open_clip_model.safetensors"
                )
            return found
        if "/" in self.model or "\\" in self.model or self.model[:1] in {".", "~"}:
            raise DataError(
                f"{self.model}: no such folder, looked in {environment.places}; expected a folder with {_CONFIG} and "
                f"open_clip_model.safetensors, a model of open_clip such as ViT-B-16, or {_HUB}<name>"
            )
        return None

    def _file(self, environment: Environment) -> Path | None:
        """The weights file, if it is on this machine.

        Raises:
            DataError: it does not exist.
        """
        folder = self._folder(environment)
        if folder is not None:
            return find_weights(str(folder), environment, first="open_clip_model.safetensors")
        if self.model.startswith(_HUB) or Path(self.pretrained).suffix not in SUFFIXES:
            return None
        return find_weights(self.pretrained, environment)

    def backbone(self, environment: Environment) -> Backbone:
        folder, file = self._folder(environment), self._file(environment)
        try:
            import open_clip
            from open_clip.transform import PreprocessCfg, image_transform_v2
        except Exception as error:  # torchvision of another build raises RuntimeError when open_clip imports it
            raise DataError(f"vit: open_clip cannot be imported ({error}); pip install 'genrec[vision]'") from error
        from genrec.item_encoders.images.backbone import Backbone

        if folder is not None:
            name, options = f"local-dir:{folder}", {}
            _demand_model(folder / _CONFIG)
        elif self.model.startswith(_HUB):
            name, options = self.model, {}
        else:
            name, options = self.model, self._pretraining(open_clip, file)
        try:
            with _silence():
                if file is None and (hub := self._hub_name(open_clip)):
                    demand_reachable(hub)
                clip: Any = open_clip.create_model(name, **options, require_pretrained=True, weights_only=True)
        except Exception as error:  # network, cache, strict loading, a damaged file: each raises its own class
            raise self._not_loaded(open_clip, file, error) from error
        return Backbone.of(clip.visual, image_transform_v2(PreprocessCfg(**clip.visual.preprocess_cfg), is_train=False))

    def _pretraining(self, open_clip: Any, file: Path | None) -> dict[str, Any]:
        """Arguments that name the weights of one of open_clip's own models.

        Raises:
            DataError: open_clip knows no such model, or no such pretraining of it.
        """
        if self.model not in open_clip.list_models():
            close = get_close_matches(self.model, open_clip.list_models(), n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "open_clip.list_models() names them"
            raise DataError(f"vit: open_clip {open_clip.__version__} has no model {self.model!r}; {hint}")
        if file is not None:
            return {"pretrained": str(file)}
        known = open_clip.get_pretrained_cfg(self.model, self.pretrained)
        if not known:
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(self.model)) or "none"
            raise DataError(
                f"vit: open_clip knows no pretraining {self.pretrained!r} of {self.model}; expected a weights file "
                f"({', '.join(SUFFIXES)}) or one of: {tags}"
            )
        # open_clip only warns where weights were trained with another activation than the model's configuration names
        return {"pretrained": self.pretrained, "force_quick_gelu": bool(known.get("quick_gelu", False))}

    def _hub_name(self, open_clip: Any) -> str:
        """Name on the hub of weights that are not on this machine; "" if they come from elsewhere."""
        if self.model.startswith(_HUB):
            return self.model.removeprefix(_HUB)
        known = open_clip.get_pretrained_cfg(self.model, self.pretrained)
        return "/".join(str(known.get("hf_hub", "")).split("/")[:2])  # a file may follow

    def _not_loaded(self, open_clip: Any, file: Path | None, error: Exception) -> DataError:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        if file is not None:
            return DataError(
                f"{file}: the weights cannot be loaded into {self.model}: {' '.join(str(error).split())[:300]}; "
                "expected the tensors of the whole CLIP model, as safetensors or a plain state_dict"
            )
        hub = self._hub_name(open_clip)
        advice = (
            f"run `hf download {hub} {_CONFIG} open_clip_model.safetensors --local-dir {hub.rpartition('/')[2]}`, copy "
            "that folder here and give its path as `model`"
            if hub
            else "fetch the weights, copy the file here and give its path as `pretrained`"
        )
        return DataError(
            f"vit: the weights {self.pretrained!r} of {self.model!r} cannot be fetched ({reason}). "
            f"Where there is a network, {advice}"
        )


def _demand_model(config: Path) -> None:
    if "model_cfg" not in read_config(config):
        raise DataError(f"{config}: model_cfg is missing; expected the configuration of an open_clip model")


@contextmanager
def _silence() -> Iterator[None]:
    """Disable open_clip's messages in the root logger; errors contain what matters."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
