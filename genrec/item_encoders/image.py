"""Item vectors from images with any timm model: its pooled features before the classifier."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.errors import DataError
from genrec.families import item_encoders
from genrec.item_encoders.images.efficientnet_names import is_foreign, with_timm_names
from genrec.item_encoders.images.encoder import ImageEncoder
from genrec.item_encoders.images.weights import (
    are_random,
    demand_reachable,
    find_weights,
    mismatch,
    read_config,
    read_tensors,
    weights_files,
)
from genrec.runtime.environment import Environment
from genrec.runtime.limits import Width

if TYPE_CHECKING:
    from torch.nn import Module

    from genrec.item_encoders.images.backbone import Backbone

_HUB = "hf-hub:"
_PREPROCESSING = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


@item_encoders.register("image")
class Image(ImageEncoder):
    """Vectors of the items' images from a pretrained timm model."""

    model: str = "vit_base_patch16_224.augreg_in21k"
    """A timm model with its pretraining tag after the dot, or ``hf-hub:<name>``."""
    weights: str | None = None
    """A weights file, a folder that holds one, or ``package:<module>`` for a Python package that carries one; by
    default those that timm downloads from the Hugging Face Hub. All tensors must match the model."""
    size: Width | None = None
    """Input size of the model in pixels; by default that of its pretraining."""

    def input_files(self, environment: Environment) -> tuple[Path, ...]:
        """The weights, where they are on this machine, and the configuration beside them."""
        return () if self.weights is None else weights_files(find_weights(self.weights, environment))

    def notes(self, environment: Environment) -> tuple[str, ...]:
        if self.weights is not None and are_random(find_weights(self.weights, environment)):
            return (f"the weights of {self.weights} are random",)
        return ()

    def backbone(self, environment: Environment) -> Backbone:
        file = None if self.weights is None else find_weights(self.weights, environment)
        try:
            import timm
            from timm.data import create_transform, resolve_model_data_config  # type: ignore[attr-defined]
        except Exception as error:  # torchvision of another build raises RuntimeError when timm imports it
            raise DataError(f"image: timm cannot be imported ({error}); pip install 'genrec[vision]'") from error
        from genrec.item_encoders.images.backbone import Backbone

        self._demand_known(timm)
        module: Any = self._fetched(timm) if file is None else self._from_file(timm, file)
        module.reset_classifier(0)
        preprocessing = resolve_model_data_config(module)
        if self.size is not None:
            if hasattr(module, "set_input_size"):
                module.set_input_size(img_size=(self.size, self.size))
            preprocessing["input_size"] = (3, self.size, self.size)
        return Backbone.of(module, create_transform(**preprocessing, is_training=False))

    def _demand_known(self, timm: Any) -> None:
        name = self.model.partition(".")[0]
        if self.model.startswith(_HUB) or timm.is_model(name):
            return
        close = get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() names them"
        raise DataError(f"image: timm {timm.__version__} has no model {name!r}; {hint}")

    def _fetched(self, timm: Any) -> Module:
        """The model with timm's weights, from the hub's cache or the network."""
        hub = self.model.removeprefix(_HUB) if self.model.startswith(_HUB) else self._hub_name(timm)
        try:
            demand_reachable(hub)
            return timm.create_model(self.model, pretrained=True)
        except Exception as error:  # network, cache, damaged files: each raises its own class
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise DataError(
                f"image: the weights of {self.model!r} cannot be fetched from the Hugging Face Hub ({reason}). Where "
                f"there is a network, run `hf download {hub} model.safetensors config.json --local-dir "
                f"{hub.rpartition('/')[2]}`, copy that folder here and give its path as `weights`"
            ) from error

    def _hub_name(self, timm: Any) -> str:
        """Name on the hub of the weights of a timm model.

        Raises:
            DataError: timm has no such pretraining, or none at all.
        """
        name, _, tag = self.model.partition(".")
        pretrained = timm.list_models(f"{name}.*", pretrained=True)
        if tag and self.model not in pretrained:
            raise DataError(
                f"image: timm {timm.__version__} knows no pretraining {tag!r} of {name}; expected "
                f"{', '.join(pretrained) or 'a weights file as `weights`'}"
            )
        hub = timm.get_pretrained_cfg(self.model).hf_hub_id if pretrained else None
        if not hub:
            raise DataError(f"image: timm fetches no weights of {self.model!r}; give a weights file as `weights`")
        return hub

    def _from_file(self, timm: Any, file: Path) -> Module:
        """The model with the tensors of a file, loaded strictly by timm, which also maps older names."""
        tensors = read_tensors(file)
        try:
            plain = timm.create_model(self.model, pretrained=False)
            if is_foreign(tensors):
                tensors = with_timm_names(tensors, plain.state_dict())
            classifier = plain.pretrained_cfg.get("classifier")
            heads = [classifier] if isinstance(classifier, str) else list(classifier or ())
            sizes = [len(tensors[f"{head}.weight"]) for head in heads if f"{head}.weight" in tensors]
            num_classes = sizes[0] if sizes else 0
            overlay = {
                **_preprocessing_beside(file),
                "state_dict": tensors,
                "num_classes": num_classes,
                "label_offset": 0,
            }
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"image: {self.model!r} cannot be built: {error}") from error
        try:
            return timm.create_model(
                self.model, pretrained=True, num_classes=num_classes, pretrained_cfg_overlay=overlay
            )
        except Exception as error:  # each model's renaming of tensors fails differently
            wanted = timm.create_model(self.model, pretrained=False, num_classes=num_classes).state_dict()
            raise mismatch(file, tensors, self.model, wanted) from error


def _preprocessing_beside(file: Path) -> dict[str, Any]:
    """Preprocessing options of a timm ``config.json`` beside the weights."""
    config = file.with_name("config.json")
    options = read_config(config).get("pretrained_cfg", {}) if config.is_file() else {}
    return {name: options[name] for name in _PREPROCESSING if name in options}
