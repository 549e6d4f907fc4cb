"""The largest numbers of each row, and which of equal ones come first."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genrec.search.top import top


@given(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.integers(1, 2000),
    st.integers(1, 60),
    st.sampled_from([2, 30, 10**6]),
)
def test_the_largest_come_first_and_of_equal_ones_the_lowest_number(seed, rows, width, size, num_values):
    """Wide rows are searched by groups; few distinct values make ties, some of them at the end of the list."""
    rng = np.random.default_rng(seed)
    values_BM = rng.integers(0, num_values, (rows, width)).astype(np.float32)
    values_BM[rng.random((rows, width)) < 0.1] = -np.inf
    numbers_BM = np.stack([rng.permutation(width) for _ in range(rows)])
    places_BN = top(torch.from_numpy(values_BM), torch.from_numpy(numbers_BM), size).numpy()
    assert places_BN.shape == (rows, min(size, width))
    for values_M, numbers_M, places_N in zip(values_BM, numbers_BM, places_BN, strict=True):
        order = np.lexsort((numbers_M, -values_M))[:size]
        assert values_M[places_N].tolist() == values_M[order].tolist()
        finite = np.isfinite(values_M[order])
        assert places_N[finite].tolist() == order[finite].tolist()
        assert len(set(places_N.tolist())) == len(places_N)


@pytest.mark.parametrize("width", [12_101, 12_096])
def test_a_catalog_of_equal_items(width):
    places_BN = top(torch.zeros(3, width), torch.arange(width).expand(3, -1), 50)
    assert places_BN.tolist() == [list(range(50))] * 3
