"""S3-Rec (Zhou et al. 2020): SASRec whose weights are first trained on four tasks with items, attributes, segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from genrec.baselines._losses import draw_negatives
from genrec.baselines._masked import MaskedNetwork, draw_masks, whole_sequences
from genrec.baselines._trained import ProductNetwork
from genrec.baselines.sasrec import Sasrec
from genrec.errors import DataError
from genrec.families import baselines
from genrec.model.layers import init_weights
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Count
from genrec.runtime.seeds import derive
from genrec.training import trainer
from genrec.training.batches import HistoryBatch, HistoryBatches
from genrec.types import Catalog, Histories


@baselines.register("s3rec")
class S3Rec(Sasrec):
    """SASRec that is trained on attributes, masked items and segments before it is trained to predict the next item.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept. The attributes are those of the catalog: the categories and the brand of an item, or
    the attributes of ``item2attributes.json`` (dataset ``sequences`` with ``items_file: null``).

    Differs from the paper: whole sequences in place of every prefix in the first stage; scores are compared by
    -log sigmoid of their difference, not of the difference of their sigmoids; cross-entropy over the whole catalog in
    the second stage (the paper's is ``loss: binary_cross_entropy`` with ``samples: all_positions``).
    """

    pretrain_epochs: Count = 30
    """Passes over the training histories in the first stage; its learning rate follows the same schedule."""
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Probability that an item is masked in the first stage; at least one of a sequence is."""
    attribute_weight: NonNegativeFloat = 0.2
    """Weight of predicting the attributes of an item from its own state (AAP)."""
    masked_item_weight: NonNegativeFloat = 1.0
    """Weight of predicting a masked item (MIP)."""
    masked_attribute_weight: NonNegativeFloat = 1.0
    """Weight of predicting the attributes of a masked item (MAP)."""
    segment_weight: NonNegativeFloat = 0.5
    """Weight of recognizing the masked segment of a sequence (SP)."""
    columns: tuple[str, ...] = ()
    """Categorical columns of the catalog whose values are attributes, too."""

    def network(self, num_items: int, *, dim: int, dropout: float) -> MaskedNetwork:
        return MaskedNetwork(num_items, **self.network_settings(dim, dropout))

    def pretrain(
        self, network: ProductNetwork, catalog: Catalog, train: Histories, *, context: WorkContext, folder: Path | None
    ) -> None:
        """Train the network on the four tasks.

        Raises:
            DataError: no item has attributes, or the catalog has no such column.
        """
        assert isinstance(network, MaskedNetwork)
        torch.manual_seed(derive(context.seed, self.type_name, "pretraining"))
        module = Pretraining(network, attributes_of(catalog, self.columns), self).to(context.device)
        batches = HistoryBatches(
            train,
            num_items=network.num_items,
            max_history=self.max_history,
            batch_size=self.batch_size,
            all_positions=True,
            seed=derive(context.seed, self.type_name, "pretraining"),
            device=network.item_table.weight.device,
        )
        trainer.train(
            module,
            batches.epoch,
            module.losses,
            self.optimization(self.pretrain_epochs),
            validate=None,
            seed=derive(context.seed, self.type_name, "pretraining"),
            title=f"{self.type_name}, pre-training",
            folder=None if folder is None else folder / "pretraining",
            epochs=self.pretrain_epochs,
        )


def attributes_of(catalog: Catalog, columns: Sequence[str]) -> list[list[int]]:
    """The attributes of each item as numbers from 0, in the order of their first occurrence.

    Raises:
        DataError: no item has any, or the catalog has no such column.
    """
    fields = [catalog.attributes]
    for name in columns:
        column = catalog.columns.get(name)
        if column is None or column.kind != "categorical":
            known = [name for name, column in catalog.columns.items() if column.kind == "categorical"]
            raise DataError(
                f"baseline s3rec: columns: found {name!r}, expected categorical columns of the catalog: "
                f"{', '.join(known) or 'it has none'}"
            )
        fields.append(tuple(column.values_I))
    numbers: dict[str, int] = {}
    of_items = [
        [
            numbers.setdefault(text, len(numbers))
            for text in dict.fromkeys(text for field in fields for text in field[i])
        ]
        for i in range(len(catalog))
    ]
    if not numbers:
        raise DataError(
            f"baseline s3rec: none of the {len(catalog):,} items of the catalog has attributes, expected categories, "
            "brands or item2attributes.json; choose a dataset that has them, or baseline sasrec, which needs none"
        )
    return of_items


class Pretraining(nn.Module):
    """The four tasks and what they need beside the network.

    Args:
        network: is trained.
        attributes: the attributes of each item.
        settings: weights of the tasks.
    """

    items_IM: Tensor

    def __init__(self, network: MaskedNetwork, attributes: list[list[int]], settings: S3Rec) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.num_attributes = 1 + max(number for of_item in attributes for number in of_item)
        # Attributes of item i in row i, filled up with a number that stands for none.
        items_IM = np.full((len(attributes), max(map(len, attributes))), self.num_attributes)
        for item, of_item in enumerate(attributes):
            items_IM[item, : len(of_item)] = of_item
        self.register_buffer("items_IM", torch.from_numpy(items_IM), persistent=False)
        dim = network.item_table.embedding_dim
        self.attribute_table = nn.Embedding(self.num_attributes, dim)
        self.of_attributes, self.of_item = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.of_masked_attributes, self.of_segment = nn.Linear(dim, dim), nn.Linear(dim, dim)
        for part in (
            self.attribute_table,
            self.of_attributes,
            self.of_item,
            self.of_masked_attributes,
            self.of_segment,
        ):
            init_weights(part)

    def losses(self, batch: HistoryBatch) -> dict[str, Tensor]:
        """The weighted losses of the four tasks, each a sum over a sequence, averaged over the sequences."""
        network, settings = self.network, self.settings
        items_BT = whole_sequences(batch.history_BT, batch.target_BQ, network.num_items)
        is_item_BT = items_BT != network.num_items
        is_masked_BT = draw_masks(is_item_BT, settings.mask_ratio)
        states_BTD = network.read_both_ways(items_BT.masked_fill(is_masked_BT, network.mask))
        is_known_BT = is_item_BT & ~is_masked_BT
        own = self.attribute_loss(self.of_attributes(states_BTD[is_known_BT]), items_BT[is_known_BT])
        masked_ND, item_N = states_BTD[is_masked_BT], items_BT[is_masked_BT]
        other_N = draw_negatives(items_BT[is_masked_BT.nonzero()[:, 0]], network.num_items)
        item = self.comparison(self.of_item(masked_ND), network.item_table(item_N), network.item_table(other_N))
        masked = self.attribute_loss(self.of_masked_attributes(masked_ND), item_N)
        segment = self.segment_loss(items_BT, *draw_segments(is_item_BT.sum(1)))
        parts = {
            "AAP": settings.attribute_weight * own,
            "MIP": settings.masked_item_weight * item,
            "MAP": settings.masked_attribute_weight * masked,
            "SP": settings.segment_weight * segment,
        }
        return {name: part / len(items_BT) for name, part in parts.items()}

    def attribute_loss(self, states_ND: Tensor, item_N: Tensor) -> Tensor:
        """Binary cross-entropy of all attributes of some items, a sum."""
        logits_NA = states_ND @ self.attribute_table.weight.T
        has_NA = logits_NA.new_zeros(len(item_N), self.num_attributes + 1)
        has_NA.scatter_(1, self.items_IM[item_N], 1.0)
        return functional.binary_cross_entropy_with_logits(logits_NA, has_NA[:, :-1], reduction="sum")

    def comparison(self, states_ND: Tensor, right_ND: Tensor, wrong_ND: Tensor) -> Tensor:
        """-log sigmoid of how much better the right vectors fit the states than the wrong ones, a sum."""
        return -functional.logsigmoid((states_ND * (right_ND - wrong_ND)).sum(1)).sum()

    def segment_loss(self, items_BT: Tensor, start_B: Tensor, length_B: Tensor) -> Tensor:
        """The segment that a sequence lacks, against one that stands elsewhere in the batch, a sum.

        Args:
            items_BT: sequences.
            start_B: first item of the segment.
            length_B: its number of items.
        """
        network = self.network
        is_item_BT = items_BT != network.num_items
        number_BT = torch.arange(items_BT.shape[1], device=items_BT.device).expand_as(items_BT)
        inside_BT = (number_BT >= start_B[:, None]) & (number_BT < (start_B + length_B)[:, None])
        # Other segments are taken from all items of the batch in a row, as if it were one long sequence.
        line_N = items_BT[is_item_BT]
        shift_B1 = (torch.rand(len(items_BT), device=items_BT.device) * len(line_N)).long()[:, None]
        other_BT = line_N[(shift_B1 + number_BT) % len(line_N)]
        rest_BT = torch.where(is_item_BT, network.mask, items_BT)
        read_BT = torch.cat(
            [
                items_BT.masked_fill(inside_BT, network.mask),
                torch.where(inside_BT, items_BT, rest_BT),
                torch.where(inside_BT, other_BT, rest_BT),
            ]
        )
        states_BD = network.states_at_end(network.read_both_ways(read_BT), read_BT)
        context_BD, right_BD, wrong_BD = states_BD.chunk(3)
        return self.comparison(self.of_segment(context_BD), right_BD, wrong_BD)


def draw_segments(length_B: Tensor) -> tuple[Tensor, Tensor]:
    """The start and the length of a segment of each sequence: one item to half of the sequence."""
    draw_2B = torch.rand(2, len(length_B), device=length_B.device)
    segment_B = 1 + (draw_2B[0] * (length_B // 2)).long().clamp(max=length_B // 2 - 1)
    start_B = (draw_2B[1] * (length_B - segment_B + 1)).long()
    return torch.minimum(start_B, length_B - segment_B), segment_B
