"""What all encoders of images by a pretrained network share: their settings, and how vectors become items'."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from genrec.families import ItemEncoder
from genrec.item_encoders.images.files import ImageList
from genrec.runtime.environment import Environment, WorkContext
from genrec.types import Catalog, Histories, ItemVectors

if TYPE_CHECKING:
    from genrec.item_encoders.images.backbone import Backbone


class ImageEncoder(ItemEncoder):
    """An encoder that runs every image through a pretrained network."""

    reads_histories = False
    speed_only: ClassVar[frozenset[str]] = frozenset({"batch_size", "num_workers"})

    model: str
    """The network."""
    normalize: bool = True
    """Scale vectors to length 1; of several images of an item, each before the mean is taken, and the mean."""
    batch_size: PositiveInt = 64
    """Images in a batch; no number depends on it."""
    num_workers: NonNegativeInt | None = None
    """Processes that read images; 0 is none beside the main one, null as many as fit the machine, at most 4."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """What a GPU computes in, auto is bf16 where it can and fp16 elsewhere; a CPU always computes in fp32."""

    @abstractmethod
    def backbone(self, environment: Environment) -> Backbone:
        """The network with its weights, which are looked for in the environment's folders.

        Raises:
            DataError: a package or the weights are missing, or are not those of the model; the text says what to do.
        """

    @abstractmethod
    def notes(self, environment: Environment) -> tuple[str, ...]:
        """What the report must say of the weights."""

    def prepare(self, catalog: Catalog, *, context: WorkContext) -> None:
        """Look for images and load the network once: what is missing is said before any work."""
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
