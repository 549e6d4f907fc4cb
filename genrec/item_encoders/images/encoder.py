"""Base class of image encoders with a pretrained network: settings, and item vectors from image vectors."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeInt

from genrec.families import ItemEncoder, KnownItems
from genrec.item_encoders._new_items import NO_HISTORIES, all_absent
from genrec.item_encoders.images.files import ImageList
from genrec.runtime.environment import Environment, WorkContext
from genrec.runtime.limits import Count
from genrec.types import Catalog, Histories, ItemVectors

if TYPE_CHECKING:
    from genrec.item_encoders.images.backbone import Backbone


class ImageEncoder(ItemEncoder):
    """An item encoder that encodes images with a pretrained network."""

    reads_histories = False
    speed_only: ClassVar[frozenset[str]] = frozenset({"batch_size", "num_workers"})

    model: str
    """The network."""
    normalize: bool = True
    """Scale vectors to length 1; for items with several images, both the images' vectors and their mean."""
    batch_size: Count = 64
    """Images in a batch; results do not depend on it."""
    num_workers: NonNegativeInt | None = None
    """Worker processes that read images; 0 uses the main process, null depends on the machine, at most 4."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision on a GPU, auto is bf16 if supported and fp16 otherwise; a CPU always computes in fp32."""

    @abstractmethod
    def backbone(self, environment: Environment) -> Backbone:
        """The network with its weights, which are searched in the environment's folders.

        Raises:
            DataError: a package or the weights are missing, or do not match the model; the message explains what to do.
        """

    @abstractmethod
    def notes(self, environment: Environment) -> tuple[str, ...]:
        """Remarks on the weights for the report."""

    def prepare(self, catalog: Catalog, *, context: WorkContext) -> None:
        """Check that there are images and load the network once, to report missing files before any work."""
        ImageList.of(catalog, self.type_name)
        self.backbone(context.environment)

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        images = ImageList.of(catalog, self.type_name)
        backbone = self.backbone(context.environment)
        from genrec.item_encoders.images.backbone import encode_images

        vectors_NE, read_N, unreadable = encode_images(
            images,
            backbone,
            title=self.type_name,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            precision=self.precision,
            device=context.device,
            folder=context.folder,
        )
        images.demand_some(unreadable, self.type_name)
        mean = images.mean_vectors(vectors_NE, read_N, unreadable, normalize=self.normalize)
        return ItemVectors(mean.vectors_IE, mean.present_I, (*self.notes(context.environment), *mean.notes))

    def encode_new(self, new: Catalog, known: KnownItems, *, context: WorkContext) -> ItemVectors:
        """Encode the images of the new items."""
        if new.images is None or not new.images.counts_I.any():
            return all_absent(new, known)
        return self.encode(new, NO_HISTORIES, context=context)
