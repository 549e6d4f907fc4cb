"""The search of titles and keys against its definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.serving.service.title_search import TitleSearch

WORDS = st.sampled_from(["oak", "Oak", "desk", "lamp", "k1", "a", "ßtraße", "I", "-"])
TITLES = st.lists(st.lists(WORDS, max_size=4).map(" ".join), min_size=1, max_size=12)


@given(titles=TITLES, query=st.lists(WORDS, max_size=3).map("  ".join), seed=st.integers(0, 99))
def test_it_finds_all_matches_in_the_order_that_it_promises(titles: list[str], query: str, seed: int) -> None:
    keys = [f"K{row}" for row in range(len(titles))]
    weight_I = np.random.default_rng(seed).integers(0, 3, len(titles))
    words, whole = query.casefold().split(), " ".join(query.casefold().split())

    def order(row: int) -> tuple[bool, bool, int, int]:
        title, key = titles[row].casefold(), keys[row].casefold()
        is_exact = bool(whole) and whole in (title, key)
        is_first = bool(whole) and (title or key).startswith(whole)
        return not is_exact, not (is_exact or is_first), -weight_I[row], row

    matches = [row for row, title in enumerate(titles) if all(w in f"{title}\n{keys[row]}".casefold() for w in words)]
    assert TitleSearch(keys, titles, weight_I).search(query) == sorted(matches, key=order)


def test_exact_matches_come_before_beginnings_and_popular_items_before_others() -> None:
    titles = ["small oak desk", "oak desk large", "Oak Desk", "oak desk chair", "lamp"]
    search = TitleSearch(["a", "b", "c", "d", "oak desk"], titles, np.array([9, 1, 0, 5, 0]))
    assert search.search("oak  DESK") == [2, 4, 3, 1, 0]
    assert search.search("desk oak") == [0, 3, 1, 2, 4]
    assert search.search("no such item") == []
