"""A synthetic shop: items with titles and drawn images, and users with three kinds of preferences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field, NonNegativeFloat

from genrec.datasets._columns import categorical, filled, numeric
from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.synthetic.histories import draw_histories, draw_latents
from genrec.datasets.synthetic.images import NUM_LOOKS, Drawings
from genrec.datasets.synthetic.items import NUM_STYLES, write_metadata
from genrec.families import DatasetSource, datasets
from genrec.runtime.seeds import derive
from genrec.types import Catalog, Dataset

_ITEMS_PER_GROUP = 20
_HASHED_IMAGES = 16


@datasets.register("showroom")
class Showroom(DatasetSource):
    """A synthetic shop in which co-purchases, texts and images carry different information; needs no files.

    A user's next item depends on a recent one in one of three ways: it belongs to the same kit, in a fixed order that
    only the histories show (behavior); its text has the same material and use (text); its image has the same palette
    and shape (visual). A tenth of the steps depend on popularity alone. Popularity is long-tailed; one item in twenty
    is a cold item that occurs in no training history. Columns: price (mostly decided by kind and material), brand.
    """

    items: int = Field(default=600, ge=40, le=20_000)
    """Size of the catalog."""
    users: int = Field(default=4000, ge=1, le=10_000_000)
    """Number of histories; each has 5 to 20 items, 7.3 on average."""
    behavior: NonNegativeFloat = 1.0
    """Weight of the kits, relative to the other two; at 0 they have no influence on the histories."""
    text: NonNegativeFloat = 1.0
    """Weight of the texts; at 0 they have no influence."""
    visual: NonNegativeFloat = 1.0
    """Weight of the images; at 0 they have no influence."""
    image_ratio: float = Field(default=0.98, gt=0, le=1)
    """Share of items with an image."""
    data_seed: int = Field(default=0, ge=0, lt=2**63)
    """Random seed of the shop, independent of the training seed."""

    def load(self, data: Path | None = None) -> Dataset:
        """Generate the shop; ``data`` is ignored."""
        groups = max(self.items // _ITEMS_PER_GROUP, 4)
        latents = draw_latents(self.items, min(groups, NUM_STYLES), min(groups, NUM_LOOKS), self.data_seed)
        histories = draw_histories(latents, self.users, (self.behavior, self.text, self.visual), self.data_seed)
        metadata = write_metadata(latents.style_I, self.data_seed)
        random = np.random.default_rng(derive(self.data_seed, "pictures", "present"))
        images = Drawings(latents.look_I, random.random(self.items) >= 1 - self.image_ratio, self.data_seed)
        catalog = Catalog(
            keys=tuple(f"item-{item + 1}" for item in range(self.items)),
            titles=tuple(item.title for item in metadata),
            texts=tuple(item.text for item in metadata),
            attributes=tuple(item.attributes for item in metadata),
            images=images,
            columns=filled(
                {
                    "price": numeric(item.price for item in metadata),
                    "brand": categorical(item.brand for item in metadata),
                }
            ),
        )
        fingerprint = Fingerprint(self.block())
        for array in (histories.items, histories.offsets, images.look_I, images.present_I):
            fingerprint.add(str(array.dtype), array.tobytes())
        fingerprint.add("texts", "\0".join(catalog.texts).encode())
        present = np.flatnonzero(images.present_I)
        for item in present[:: max(1, len(present) // _HASHED_IMAGES)]:  # images are drawn on demand: hash some of them
            fingerprint.add(f"image {item}", images.open(int(item)).tobytes())
        cold = int((np.bincount(histories.items, minlength=self.items) < 5).sum())
        return Dataset(
            name="showroom",
            catalog=catalog,
            user_keys=tuple(f"user-{user + 1}" for user in range(self.users)),
            histories=histories,
            fingerprint=fingerprint.hexdigest(),
            notes=(
                "synthetic data: results do not transfer to real shops",
                f"{int(latents.is_arrival_I.sum())} cold items occur in no training history",
                f"{cold} items occur fewer than 5 times",
            ),
        )
