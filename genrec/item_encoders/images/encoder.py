"""What all encoders of pictures by a pretrained network share: their settings, and how vectors become items'."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from genrec.families import ItemEncoder
from genrec.item_encoders.images.files import PictureList
from genrec.runtime.environment import Environment, WorkContext
from genrec.types import Catalog, Histories, ItemVectors

if TYPE_CHECKING:
    from genrec.item_encoders.images.tower import Tower


class PictureEncoder(ItemEncoder):
    """An encoder that runs every picture through a pretrained network."""

    reads_histories = False
    speed_only: ClassVar[frozenset[str]] = frozenset({"batch_size", "num_workers"})

    model: str
    """The network."""
    normalize: bool = True
    """Scale vectors to length 1; of several pictures of an item, each before the mean is taken, and the mean."""
    batch_size: PositiveInt = 64
    """Pictures in a batch; no number depends on it."""
    num_workers: NonNegativeInt | None = None
    """Processes that read pictures; 0 is none beside the main one, null as many as fit the machine, at most 4."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """What a GPU computes in, auto is bf16 where it can and fp16 elsewhere; a CPU always computes in fp32."""

    @abstractmethod
    def tower(self, environment: Environment) -> Tower:
        """The network with its weights, which are looked for in the environment's folders.

        Raises:
            DataError: a package or the weights are missing, or are not those of the model; the text says what to do.
        """

    @abstractmethod
    def notes(self, environment: Environment) -> tuple[str, ...]:
        """What the report must say of the weights."""

    def prepare(self, catalog: Catalog, *, context: WorkContext) -> None:
        """Look for pictures and load the network once: what is missing is said before any work."""
        PictureList.of(catalog, self.type_name)
        self.tower(context.environment)

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        pictures = PictureList.of(catalog, self.type_name)
        tower = self.tower(context.environment)
        from genrec.item_encoders.images.tower import encode_pictures

        vectors_NE, read_N, unreadable = encode_pictures(
            pictures,
            tower,
            title=self.type_name,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            precision=self.precision,
            device=context.device,
            folder=context.folder,
        )
        pictures.demand_some(unreadable, self.type_name)
        mean = pictures.mean_vectors(vectors_NE, read_N, unreadable, normalize=self.normalize)
        return ItemVectors(mean.vectors_IE, mean.present_I, (*self.notes(context.environment), *mean.notes))
