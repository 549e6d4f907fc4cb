from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import ContractError, DataError
from genrec.families import Tokenizer
from genrec.runtime.environment import WorkContext
from genrec.semantic_ids.absent_items import with_own_branch
from genrec.semantic_ids.new_items import with_new_items
from genrec.testing import check
from genrec.types import ABSENT, ItemVectors, SemanticIds


def vectors_of(points, absent: tuple[int, ...] = ()) -> ItemVectors:
    points = np.asarray(points, dtype=np.float32)
    return ItemVectors(points, ~np.isin(np.arange(len(points)), absent))


def ids_of(codes, sizes: tuple[int, ...]) -> SemanticIds:
    return SemanticIds(np.array(codes, dtype=np.int32), sizes)


LINE = vectors_of([[0.0], [1.0], [10.0], [11.0]])
TWO_LEVELS = ids_of([[0, 0], [0, 2], [1, 0], [1, 1]], (2, 3))


def placed(ids: SemanticIds, vectors: ItemVectors, new: ItemVectors, **options) -> list[list[int]]:
    wider = with_new_items(ids, vectors, new, tokenizer="test", **options)
    assert np.array_equal(wider.codes_IL[: len(ids.codes_IL)], ids.codes_IL)
    return wider.codes_IL[len(ids.codes_IL) :].tolist()


def test_a_new_item_goes_below_the_path_of_its_nearest_neighbor():
    assert placed(TWO_LEVELS, LINE, vectors_of([[10.4]])) == [[1, 2]]
    assert placed(TWO_LEVELS, LINE, vectors_of([[-3.0]])) == [[0, 1]]


def test_where_a_path_is_full_the_next_nearest_is_taken():
    assert placed(TWO_LEVELS, LINE, vectors_of([[0.0], [0.5]])) == [[0, 1], [1, 2]]


def test_without_a_free_code_it_says_how_many_are_left():
    with pytest.raises(DataError) as caught:
        placed(TWO_LEVELS, LINE, vectors_of([[0.0], [0.5], [0.7], [9.0]], absent=(1,)))
    assert str(caught.value) == (
        "test: 1 of 3 new items get no code, the first of them number 3: all 3 last codes are taken below every path "
        "of the known items; refit the tokenizer with the new items, or with more codes or levels"
    )


def test_another_width_is_refused():
    with pytest.raises(DataError) as caught:
        placed(TWO_LEVELS, LINE, vectors_of([[0.0, 1.0]]))
    assert str(caught.value) == (
        "test: the vectors of the new items have 2 numbers each, those of the known items 1; "
        "encode the new items with the item encoder of the stream"
    )


def test_absent_new_items_stay_absent():
    assert placed(TWO_LEVELS, LINE, vectors_of([[0.0], [10.0]], absent=(0,))) == [[ABSENT, ABSENT], [1, 2]]


def test_one_level_has_one_path():
    ids = ids_of([[4], [0], [2]], (6,))
    assert placed(ids, vectors_of([[0.0], [1.0], [2.0]]), vectors_of([[0.0], [0.0]])) == [[1], [3]]


def test_the_branch_of_absent_items_takes_nobody_in():
    vectors = vectors_of([[0.0], [1.0], [10.0], [11.0], [5.0]], absent=(4,))
    ids = with_own_branch(ids_of([*TWO_LEVELS.codes_IL.tolist(), [ABSENT, ABSENT]], (2, 3)))
    assert ids.codes_IL[4].tolist() == [2, 0]
    assert placed(ids, vectors, vectors_of([[5.0], [5.2]])) == [[0, 1], [1, 2]]


def test_a_wished_path_comes_first_and_may_be_new():
    wishes = np.array([[1], [1]])
    assert placed(TWO_LEVELS, LINE, vectors_of([[0.0], [0.1]]), prefix_JP=wishes) == [[1, 2], [0, 1]]
    wider = ids_of(TWO_LEVELS.codes_IL, (5, 3))
    assert placed(wider, LINE, vectors_of([[0.0], [0.1]]), prefix_JP=np.array([[4], [4]])) == [[4, 0], [4, 1]]


def test_the_cheapest_free_last_code_is_taken():
    wide = ids_of(TWO_LEVELS.codes_IL, (2, 8))

    def cost(item: int, prefix: tuple[int, ...]) -> np.ndarray:
        assert prefix == (0,)
        return np.array([0.0, 5.0, 1.0, 3.0 - item])

    assert placed(wide, LINE, vectors_of([[0.0], [0.1], [0.2]]), last_cost=cost) == [[0, 3], [0, 1], [0, 4]]


class Parity(Tokenizer):
    """Even and odd items."""

    type_name: ClassVar[str] = "parity"

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        rows = np.arange(len(vectors.present_I))
        codes = np.column_stack([rows % 2, rows // 2])
        return ids_of(np.where(vectors.present_I[:, None], codes, ABSENT), (2, 24))


def test_the_default_of_every_tokenizer():
    vectors, tokenizer = vectors_of([[0.0], [10.0], [1.0], [11.0]]), Parity()
    wider = tokenizer.assign(
        tokenizer.fit(vectors, keys=(), context=WorkContext(seed=0)), vectors, vectors_of([[9.0], [2.0]])
    )
    assert wider.codes_IL[4:].tolist() == [[1, 2], [0, 2]]
    check(tokenizer)


def test_a_tokenizer_that_moves_known_items_is_found_out():
    class Refits(Parity):
        """Changes places."""

        def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
            wider = super().assign(ids, vectors, new)
            codes_IL = wider.codes_IL.copy()
            codes_IL[[0, 1]] = codes_IL[[1, 0]]
            return replace(wider, codes_IL=codes_IL)

    with pytest.raises(ContractError, match="known items keep their codes"):
        check(Refits())


def test_a_tokenizer_that_widens_vocabularies_is_found_out():
    class Widens(Parity):
        """Makes room."""

        def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
            return replace(super().assign(ids, vectors, new), vocabulary_sizes=(2, 40))

    with pytest.raises(ContractError, match="vocabularies stay unchanged"):
        check(Widens())


def test_a_tokenizer_that_gives_up_too_early_is_found_out():
    class GivesUp(Parity):
        """Finds nothing."""

        def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
            raise DataError("no code is free")

    with pytest.raises(ContractError, match="finds the codes that are free"):
        check(GivesUp())


@given(
    num_items=st.integers(1, 30),
    num_new=st.integers(0, 12),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
)
def test_all_free_codes_below_known_paths_can_be_had(num_items, num_new, sizes, seed):
    generator = np.random.default_rng(seed)
    places = generator.permutation(int(np.prod(sizes)))[:num_items]
    ids = ids_of(np.stack(np.unravel_index(places, sizes), axis=1), tuple(sizes))
    known, new = (vectors_of(generator.integers(0, 5, (n, 2))) for n in (len(places), num_new))
    room = len({tuple(prefix) for prefix in ids.codes_IL[:, :-1].tolist()}) * sizes[-1] - len(places)
    if num_new > room:
        with pytest.raises(DataError, match=f"{num_new - room} of {num_new} new items"):
            placed(ids, known, new)
        return
    codes = placed(ids, known, new)
    assert len(np.unique([*ids.codes_IL.tolist(), *codes], axis=0)) == len(places) + num_new


def test_many_alike_go_on_to_the_next_nearest_paths():
    """More of them than are looked at in one go: each place is one apart from the next."""
    count = 200
    ids = ids_of(np.column_stack([np.arange(count), np.zeros(count)]), (count, 2))
    codes = placed(ids, vectors_of(np.arange(count)[:, None]), vectors_of(np.full((count, 1), -1.0)))
    assert codes == [[place, 1] for place in range(count)]


def test_a_large_catalog_takes_seconds():
    generator = np.random.default_rng(0)
    codes = np.stack(np.unravel_index(generator.permutation(2**18)[:100_000], (64, 64, 64)), axis=1)
    points = generator.normal(size=(101_000, 16)).astype(np.float32)
    started = time.process_time()
    wider = placed(ids_of(codes, (64, 64, 64)), vectors_of(points[:100_000]), vectors_of(points[100_000:]))
    assert time.process_time() - started < 10
    nearest = ((points[:100_000] - points[100_000]) ** 2).sum(axis=1).argmin()
    assert wider[0][:2] == codes[nearest, :2].tolist()
