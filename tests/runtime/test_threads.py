"""How many threads: by recipe and cores alone, set in a block and put back."""

import pytest
import torch
from sklearn.cluster import KMeans  # brings a library of threads of its own
from threadpoolctl import threadpool_info

from genrec.runtime.threads import auto_threads, one_thread, threads, threads_for


def block(*, batch_size, max_history, dim):
    return {"history_encoder": {"max_history": max_history, "dim": dim}, "training": {"batch_size": batch_size}}


SMALL = block(batch_size=64, max_history=20, dim=64)
LARGE = block(batch_size=256, max_history=20, dim=128)


def test_auto_is_one_thread_for_a_small_model_and_some_for_a_large_one():
    assert [auto_threads(SMALL, cores) for cores in (1, 2, 64)] == [1, 1, 1]
    assert [auto_threads(LARGE, cores) for cores in (1, 2, 64)] == [1, 2, 8]


def test_what_is_asked_for_goes_before_the_variable_and_that_before_auto(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_for(None, LARGE, 4) == 4
    assert threads_for(3, LARGE, 4) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_for(None, LARGE, 4) is None
    assert threads_for("auto", LARGE, 4) == 4
    assert threads_for(3, LARGE, 4) == 3


@pytest.mark.parametrize("count", [1, 3])
def test_threads_are_set_meanwhile(count):
    def numbers():
        libraries = {library["filepath"]: library["num_threads"] for library in threadpool_info()}
        return torch.get_num_threads(), libraries

    assert KMeans is not None
    before = numbers()
    with threads(count):
        of_torch, libraries = numbers()
        assert of_torch == count
        assert set(libraries.values()) <= set(range(1, count + 1))
        assert len(libraries) > 2, "torch's, NumPy's and scikit-learn's"
        with one_thread():
            assert set(numbers()[1].values()) == {1}
        assert numbers() == (of_torch, libraries)
    assert numbers() == before
    with threads(None):
        assert numbers() == before
