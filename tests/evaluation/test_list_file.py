"""The lists of a run, stored and read."""

import numpy as np
import pytest

from genrec.errors import DataError
from genrec.evaluation import list_file
from genrec.evaluation.list_file import FILE, ListFile
from genrec.evaluation.metrics import METRICS
from genrec.evaluation.top_lists import ItemFacts, TopLists
from genrec.types import ABSENT, ItemVectors

NUM_USERS = 30


@pytest.fixture
def lists():
    rng = np.random.default_rng(0)
    items_UK = rng.integers(0, 50, (NUM_USERS, 11))
    items_UK[3, 4:] = ABSENT
    is_seen_UK = (rng.random(items_UK.shape) < 0.3) & (items_UK != ABSENT)
    return TopLists(items_UK, is_seen_UK, ItemFacts(rng.integers(0, 9, 50)))


def test_it_reads_what_it_wrote(lists, tmp_path):
    reverse = TopLists(lists.items_UK[:, ::-1], lists.is_seen_UK[:, ::-1], lists.facts)
    ListFile.of({"merge: a/b": lists, "reverse": reverse}).write(tmp_path)
    read = ListFile.read(tmp_path)
    assert (read.list_length, read.rows.tolist()) == (11, list(range(NUM_USERS)))
    for name, expected in (("merge: a/b", lists), ("reverse", reverse)):
        found = read.of_method(name, tmp_path)
        assert found.items_UK.tolist() == expected.items_UK.tolist()
        assert found.is_seen_UK.tolist() == expected.is_seen_UK.tolist()
        for metric in ("coverage", "gini", "novelty", "tail_share", "repeat_share"):
            measure = METRICS.get(metric).of_lists
            assert measure(found).tolist() == measure(expected).tolist()
    assert (tmp_path / FILE).stat().st_size < 2 * NUM_USERS * (11 * 2 + 2) + 50 * 8 + NUM_USERS * 8 + 1000


def test_a_sample_is_stored_of_many_users(lists, tmp_path, monkeypatch):
    monkeypatch.setattr(list_file, "MAX_USERS", 7)
    ListFile.of({"a": lists}).write(tmp_path)
    read = ListFile.read(tmp_path)
    assert len(read.rows) == 7
    assert read.of_method("a", tmp_path).items_UK.tolist() == lists.items_UK[read.rows].tolist()


def test_large_catalogs_have_larger_numbers(tmp_path):
    items_UK = np.array([[40_000, 3]])
    ListFile.of({"a": TopLists(items_UK, items_UK > 9, ItemFacts(np.ones(50_000, dtype=np.int64)))}).write(tmp_path)
    assert ListFile.read(tmp_path).of_method("a", tmp_path).items_UK.tolist() == [[40_000, 3]]


def test_what_cannot_be_read_is_refused(lists, tmp_path):
    def refusal(action):
        with pytest.raises(DataError) as error:
            action()
        return str(error.value)

    assert "whose recipe has metrics under evaluation.beyond_accuracy" in refusal(lambda: ListFile.read(tmp_path))
    file = ListFile.of({"a": lists})
    assert refusal(lambda: file.of_method("b", tmp_path)) == f"{tmp_path / FILE}: no lists of 'b'; expected one of a"
    vectors = ItemVectors(np.ones((2, 2), np.float32), np.ones(2, bool))
    assert "lists of 50 items, and vectors of 2" in refusal(lambda: file.of_method("a", tmp_path, vectors))
    broken = ListFile(file.rows, file.counts_I[:20], file.items, file.is_seen)
    broken.write(tmp_path)
    assert "has an item that is not in the catalog" in refusal(lambda: ListFile.read(tmp_path))
    ListFile(file.rows[:4], file.counts_I, file.items, file.is_seen).write(tmp_path)
    assert "differ in shape" in refusal(lambda: ListFile.read(tmp_path))
    (tmp_path / FILE).write_bytes(b"nonsense")
    assert "cannot be read" in refusal(lambda: ListFile.read(tmp_path))
