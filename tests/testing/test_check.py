"""A component that breaks its contract is found out, with the sentence that it breaks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ConfigDict
from torch import nn

from genrec.decoders.mlp import Mlp
from genrec.decoders.transformer import Transformer
from genrec.errors import ContractError
from genrec.families import Decoder, HistoryEncoder, ItemEncoder, Merge, Task, Tokenizer
from genrec.history_encoders.item_ids import ItemIds
from genrec.merges.confidence import Confidence
from genrec.model.contracts import Encoded, TaskModule
from genrec.runtime.environment import WorkContext
from genrec.testing import check
from genrec.types import ABSENT, Candidates, Catalog, Histories, ItemVectors, Ranking, SemanticIds


def broken(component: Any, sentence: str) -> None:
    with pytest.raises(ContractError) as caught:
        check(component)
    assert sentence in str(caught.value)


class Sound(Merge):
    """Ranks by the best own log-probability."""

    type_name: ClassVar[str] = "sound"

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        return Confidence().merge(candidates, top_n=top_n)


def test_a_sound_merge_passes():
    check(Sound())


def test_component_without_a_name():
    class Nameless(Sound):
        """No name."""

        type_name: ClassVar[str] = ""

    broken(Nameless(), "the merge 'Nameless' breaks its contract: a component is registered under a name")


def test_component_that_can_be_changed():
    class Loose(Sound):
        """Not frozen."""

        model_config = ConfigDict(frozen=False)
        depth: int = 3
        """Some number."""

    broken(Loose(), "the merge 'sound' breaks its contract: a component is frozen, but its field 'depth' can be set")


def test_field_without_help():
    class Silent(Sound):
        """A field that nobody explains."""

        depth: int = 3

    broken(Silent(), "the field 'depth' has a docstring below it")


def test_block_that_does_not_come_back():
    class Odd(Sound):
        """A block that says something else."""

        depth: int = 3
        """Some number."""

        def block(self) -> dict[str, Any]:
            return {"type": "sound", "depth": self.depth + 1}

    broken(Odd(), "a component built from its own block is equal to it")


class TopMerge(Sound):
    """To be broken in ``alter``."""

    def alter(self, ranking: Ranking, candidates: Candidates) -> Ranking:
        return ranking

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        return self.alter(super().merge(candidates, top_n=top_n), candidates)


def test_merge_that_cannot_be_padded():
    class Short(TopMerge):
        """Never longer than the candidates."""

        def alter(self, ranking, candidates):
            width = candidates.items_BC.shape[1]
            return Ranking(ranking.items_BN[:, :width], ranking.scores_BN[:, :width])

    broken(Short(), "a ranking has a row for each user and top_n columns")


def test_merge_with_an_item_twice():
    class Twice(TopMerge):
        """The second place repeats the first."""

        def alter(self, ranking, candidates):
            items = ranking.items_BN.copy()
            items[:, 1] = np.where(items[:, 1] == ABSENT, ABSENT, items[:, 0])
            return Ranking(items, ranking.scores_BN)

    broken(Twice(), "no item occurs twice in a row")


def test_merge_with_rising_scores():
    class Rising(TopMerge):
        """Scores change sign."""

        def alter(self, ranking, candidates):
            return Ranking(
                ranking.items_BN, np.where(ranking.items_BN == ABSENT, ranking.scores_BN, -ranking.scores_BN)
            )

    broken(Rising(), "scores do not increase along a row")


def test_merge_that_takes_nan_for_a_score():
    class Blind(Sound):
        """Adds up what is there and what is not."""

        def merge(self, candidates, *, top_n):
            scores = candidates.log_probs_BCS.sum(2)
            order = np.argsort(-scores, axis=1)[:, :top_n]
            items, scores = np.take_along_axis(candidates.items_BC, order, 1), np.take_along_axis(scores, order, 1)
            pad = ((0, 0), (0, top_n - items.shape[1]))
            return Ranking(np.pad(items, pad, constant_values=ABSENT), np.pad(scores, pad, constant_values=-np.inf))

    broken(Blind(), "the score is -inf where a ranking is ABSENT")


def test_merge_that_ranks_by_the_place_among_the_candidates():
    class InOrder(Sound):
        """The first candidate is the best."""

        def merge(self, candidates, *, top_n):
            places = np.arange(candidates.items_BC.shape[1], dtype=np.float32)
            return Ranking.top(candidates.items_BC, np.broadcast_to(-places, candidates.items_BC.shape), top_n)

    broken(InOrder(), "the order of the candidates does not matter")


def test_merge_that_writes_into_its_candidates():
    class Scribbler(Sound):
        """Changes the candidates."""

        def merge(self, candidates, *, top_n):
            np.nan_to_num(candidates.log_probs_BCS, copy=False, nan=-50.0)
            return super().merge(candidates, top_n=top_n)

    broken(Scribbler(), "merge() leaves the candidates alone")


def test_merge_that_compares_users():
    class Relative(Sound):
        """Scores are relative to the best user's."""

        def merge(self, candidates, *, top_n):
            ranking = super().merge(candidates, top_n=top_n)
            return Ranking(ranking.items_BN, ranking.scores_BN - ranking.scores_BN.max())

    broken(Relative(), "users are ranked independently")


def test_merge_for_three_streams_only():
    class Three(Sound):
        """Cannot do with one stream."""

        def merge(self, candidates, *, top_n):
            if len(candidates.streams) != 3:
                from genrec.errors import RecipeError

                raise RecipeError("three streams, please")
            return super().merge(candidates, top_n=top_n)

    broken(Three(), "a merge works with one stream as well")


class TextLength(ItemEncoder):
    """Length of the text."""

    type_name: ClassVar[str] = "text_length"

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        lengths = np.array([[len(text)] for text in catalog.texts], dtype=np.float32)
        return ItemVectors(lengths, lengths[:, 0] > 0)


def test_a_sound_item_encoder_passes():
    check(TextLength())


def test_item_encoder_that_hides_its_randomness():
    class Noise(TextLength):
        """Random, and does not say so."""

        def encode(self, catalog, train, *, context):
            return ItemVectors(
                np.random.default_rng(context.seed).normal(size=(len(catalog), 2)).astype(np.float32),
                np.ones(len(catalog), bool),
            )

    broken(Noise(), "another seed gives the same vectors, or the class sets is_random")


def test_item_encoder_with_a_generator_of_its_own():
    generator = np.random.default_rng(0)

    class Unseeded(TextLength):
        """Random whatever the seed."""

        is_random: ClassVar[bool] = True

        def encode(self, catalog, train, *, context):
            return ItemVectors(generator.normal(size=(len(catalog), 2)).astype(np.float32), np.ones(len(catalog), bool))

    broken(Unseeded(), "the same seed gives the same vectors")


def test_item_encoder_that_changes_the_histories():
    class Sorter(TextLength):
        """Sorts in place."""

        def encode(self, catalog, train, *, context):
            train.items.sort()
            return super().encode(catalog, train, context=context)

    broken(Sorter(), "encode() leaves its inputs alone")


def test_item_encoder_that_leaves_items_out():
    class Dropper(TextLength):
        """One row fewer."""

        def encode(self, catalog, train, *, context):
            vectors = super().encode(catalog, train, context=context)
            return ItemVectors(vectors.vectors_IE[1:], vectors.present_I[1:])

    broken(Dropper(), "encode() gives one row for every item of the catalog")


class Numbers(Tokenizer):
    """Each item's number."""

    type_name: ClassVar[str] = "numbers"

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        codes = np.where(vectors.present_I, np.arange(len(vectors.present_I)), ABSENT)
        return SemanticIds(codes[:, None].astype(np.int32), (len(codes),))


def test_a_sound_tokenizer_passes():
    check(Numbers())


def test_tokenizer_that_gives_absent_items_codes():
    class All(Numbers):
        """Absent items get codes too."""

        def fit(self, vectors, *, keys, context):
            return super().fit(ItemVectors(vectors.vectors_IE, np.ones(len(keys), bool)), keys=keys, context=context)

    broken(All(), "items that are present get codes, absent ones get none")


def test_tokenizer_that_looks_at_absent_rows():
    class Nosy(Numbers):
        """The mean of all rows decides."""

        def fit(self, vectors, *, keys, context):
            ids = super().fit(vectors, keys=keys, context=context)
            if vectors.vectors_IE.mean() < 100:
                return ids
            size = ids.vocabulary_sizes[0]
            return SemanticIds(np.where(ids.codes_IL == ABSENT, ABSENT, size - 1 - ids.codes_IL), (size,))

    broken(Nosy(), "the rows of absent items are never used")


def test_decoder_whose_expansion_says_something_else():
    class Flattened(Decoder):
        """Children are sampled at another temperature than they were scored."""

        type_name: ClassVar[str] = "flattened"

        def build(self, context):
            module = Mlp().build(context)
            expand = module.expand
            module.expand = lambda *arguments: (expand(*arguments) * 0.5).log_softmax(-1)  # type: ignore[method-assign]
            return module

    broken(Flattened(), "expand() and forward() give every item the same log-probability")


def test_decoder_that_reads_more_than_it_declares():
    class Forgetful(Decoder):
        """Declares what only another decoder keeps."""

        type_name: ClassVar[str] = "forgetful"

        def build(self, context):
            module = Transformer(num_layers=1, dropout=0.0).build(context)
            module.reads_last_only = True
            return module

    broken(Forgetful(), "reads_last_only means that no other state matters")


def test_decoder_that_expands_otherwise_for_all_users():
    class Partial(Decoder):
        """A shorter way that leads elsewhere."""

        type_name: ClassVar[str] = "partial"

        def build(self, context):
            module = Mlp().build(context)
            expand = module.expand_for_all
            module.expand_for_all = lambda *arguments: expand(*arguments) * 0.5  # type: ignore[method-assign]
            return module

    broken(Partial(), "expand_for_all() gives what expand() gives for each user")


def test_history_encoder_with_another_last_state():
    class Shortened(HistoryEncoder):
        """A shorter way that forgets the last item."""

        type_name: ClassVar[str] = "shortened"

        def build(self, context):
            module = ItemIds(dim=self.dim, max_history=self.max_history).build(context)
            last = module.last
            module.last = lambda history_BT: last(history_BT[:, :1])  # type: ignore[method-assign]
            return module

    broken(Shortened(), "last() gives the state of the most recent item")


def test_decoder_whose_probabilities_exceed_one():
    class Unnormalized(Decoder):
        """Sigmoids instead of a softmax."""

        type_name: ClassVar[str] = "unnormalized"

        def build(self, context):
            module = Mlp().build(context)
            expand = module.expand
            module.expand = lambda *arguments: expand(*arguments) * 0.5  # type: ignore[method-assign]
            return module

    broken(Unnormalized(), "the probabilities of a node's children sum to 1 at most")


def test_decoder_that_sees_the_future():
    class Prophet(Decoder):
        """Every query reads the user's last state."""

        type_name: ClassVar[str] = "prophet"

        def build(self, context):
            module = Mlp().build(context)
            forward = module.forward
            module.forward = lambda encoded, target_BQ, all_positions=False, with_summary=False: forward(  # type: ignore[method-assign]
                encoded, target_BQ, with_summary=with_summary
            )
            return module

    broken(Prophet(), "all_positions means that query q sees the history up to its item q")


def reading(change) -> HistoryEncoder:
    class Altered(ItemIds):
        """Item ids, with something wrong."""

        type_name: ClassVar[str] = "altered"

        def build(self, context):
            module = super().build(context)
            forward = module.forward
            module.forward = lambda history_BT: change(forward(history_BT))  # type: ignore[method-assign]
            return module

    return Altered(dim=16)


def test_history_encoder_that_claims_to_be_causal():
    broken(
        reading(lambda encoded: Encoded(encoded.states_BTD, encoded.mask_BT, True)),
        "is_causal means that no state depends on later items",
    )


def test_history_encoder_that_mixes_users():
    broken(
        reading(lambda encoded: Encoded(encoded.states_BTD - encoded.states_BTD.mean(0), encoded.mask_BT, False)),
        "padding and other users change no state",
    )


class Silent(TaskModule):
    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(()))
        self.factor = value

    def forward(self, outputs):
        return self.value * self.factor


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (torch.ones(3), "the loss is a scalar"),
        (torch.tensor(torch.nan), "the loss is finite"),
        (torch.tensor(0.0), "the loss has a gradient for the decoders or for the task's own parameters"),
    ],
)
def test_task_with_a_useless_loss(value, sentence):
    class Useless(Task):
        """A loss that nothing can be learnt from."""

        type_name: ClassVar[str] = "useless"

        def build(self, context):
            return Silent(value)

    broken(Useless(), sentence)
