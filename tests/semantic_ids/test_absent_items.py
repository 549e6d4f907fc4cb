"""Items that an encoder could not read: neighbors against a plain loop, own branches against their promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.semantic_ids.absent_items import like_nearest, with_own_branch
from genrec.types import ABSENT, ItemVectors, SemanticIds


def vectors(rows: list[list[float] | None]) -> ItemVectors:
    width = max(len(row) for row in rows if row is not None)
    filled = np.array([row if row is not None else [0.0] * width for row in rows], dtype=np.float32)
    return ItemVectors(filled, np.array([row is not None for row in rows]), ("a note",))


def test_an_absent_item_gets_the_vector_of_its_nearest_item_in_the_other_stream() -> None:
    seen = vectors([[1, 1], [5, 5], None, None])
    guide = vectors([[1, 0, 0], [0, 1, 0], [0.1, 30, 0], [2, 0, 0.5]])
    filled = like_nearest(seen, guide)
    assert filled.vectors_IE.tolist() == [[1, 1], [5, 5], [5, 5], [1, 1]]
    assert filled.present_I.all()
    assert filled.notes == ("a note",)
    assert not seen.present_I.all(), "what was handed in stays as it was"


def test_what_the_other_stream_does_not_know_stays_absent() -> None:
    filled = like_nearest(vectors([[1, 1], None, None]), vectors([[1, 0], None, [1, 1]]))
    assert filled.present_I.tolist() == [True, False, True]
    assert filled.vectors_IE[1].tolist() == [0, 0]


def test_without_a_common_item_nothing_can_be_told() -> None:
    seen = vectors([[1.0], None])
    assert like_nearest(seen, vectors([None, [1.0]])) is seen


def test_nearest_is_what_a_plain_loop_finds_across_blocks() -> None:
    random = np.random.default_rng(0)
    known = random.random(2500) < 0.4
    own = ItemVectors(np.where(known[:, None], random.normal(size=(2500, 3)), 0).astype(np.float32), known)
    guide_IE = random.normal(size=(2500, 5)).astype(np.float32)
    filled = like_nearest(own, ItemVectors(guide_IE, np.ones(2500, dtype=bool)))
    assert filled.present_I.all()
    assert (~known).sum() > 1024, "more than one block"
    unit_IE = guide_IE / np.linalg.norm(guide_IE, axis=1, keepdims=True)
    for item in np.flatnonzero(~known)[::97]:
        nearest = max(np.flatnonzero(known), key=lambda other: float(unit_IE[item] @ unit_IE[other]))
        assert np.array_equal(filled.vectors_IE[item], own.vectors_IE[nearest])


@given(present=st.integers(1, 12), absent=st.integers(0, 40), levels=st.integers(1, 4))
def test_an_own_branch_keeps_all_codes_and_adds_distinct_ones_below_one_new_code(
    present: int, absent: int, levels: int
) -> None:
    size = 12 if levels == 1 else 4
    codes = np.full((present + absent, levels), ABSENT, dtype=np.int32)
    where = np.random.default_rng(present * 41 + absent).permutation(present + absent)[:present]
    every = np.stack(np.unravel_index(np.arange(present), (size,) * levels), axis=1)[:, ::-1]
    codes[where] = every
    ids = SemanticIds(codes, (size,) * levels)
    whole = with_own_branch(ids)  # SemanticIds itself refuses codes that are not unique or outside their vocabulary
    assert whole.present_I.all()
    assert np.array_equal(whole.codes_IL[where], codes[where])
    new = np.setdiff1d(np.arange(present + absent), where)
    if absent and levels > 1:
        assert (whole.codes_IL[new, 0] == size).all()
        assert whole.vocabulary_sizes[0] == size + 1
        for level in range(1, levels):
            sizes = np.unique(whole.codes_IL[new][:, : level + 1], axis=0, return_counts=True)[1]
            assert sizes.max() - sizes.min() <= 1 or len(sizes) == 1


def test_an_own_branch_without_absent_items_changes_nothing() -> None:
    ids = SemanticIds(np.array([[0, 1], [1, 0]], dtype=np.int32), (2, 2))
    assert with_own_branch(ids) is ids


@pytest.mark.parametrize("absent", [1, 5, 17, 100])
def test_levels_grow_where_they_have_too_few_codes(absent: int) -> None:
    codes = np.full((absent + 1, 3), ABSENT, dtype=np.int32)
    codes[0] = 0
    whole = with_own_branch(SemanticIds(codes, (1, 2, 2)))
    assert whole.vocabulary_sizes[0] == 2
    assert whole.vocabulary_sizes[1] == whole.vocabulary_sizes[2] == max(2, int(np.ceil(np.sqrt(absent))))
