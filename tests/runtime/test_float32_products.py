"""Products by oneDNN: switched on where they are exact, off again afterwards, and never where they would be rounded."""

from __future__ import annotations

from threading import Barrier, Event, Thread

import pytest
import torch

from genrec.runtime import float32_products
from genrec.runtime.float32_products import by_onednn, is_exact

SETTING = getattr(torch.backends.mkldnn, "matmul", None)
needs_setting = pytest.mark.skipif(SETTING is None, reason="this torch cannot be told")


@pytest.fixture(autouse=True)
def forget():
    is_exact.cache_clear()
    yield
    is_exact.cache_clear()


@needs_setting
def test_the_setting_is_put_back_even_after_an_error():
    before = SETTING.fp32_precision
    with by_onednn(), by_onednn():
        assert SETTING.fp32_precision == ("bf16" if is_exact() else before)
    assert SETTING.fp32_precision == before
    with pytest.raises(ZeroDivisionError), by_onednn():
        _ = 1 / 0
    assert SETTING.fp32_precision == before


@needs_setting
def test_the_setting_holds_until_the_last_of_several_threads_leaves():
    before = SETTING.fp32_precision
    inside, may_end = Barrier(2, timeout=10), Event()

    def one_more() -> None:
        with by_onednn():
            inside.wait()
            may_end.wait(10)

    other = Thread(target=one_more)
    with by_onednn():
        other.start()
        inside.wait()
    assert SETTING.fp32_precision == ("bf16" if is_exact() else before)
    may_end.set()
    other.join()
    assert SETTING.fp32_precision == before


@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 128, 512), (100, 128, 384), (1000, 512, 128)])
def test_products_and_gradients_are_those_of_float32(rows, inner, columns):
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(rows, inner, generator=generator, requires_grad=True)
    second = torch.randn(inner, columns, generator=generator)
    with by_onednn():
        product = first @ second
        product.sum().backward()
    torch.testing.assert_close(product.double(), first.double() @ second.double(), atol=2e-4, rtol=0)
    torch.testing.assert_close(first.grad.double(), second.double().sum(1).expand(rows, -1), atol=2e-4, rtol=0)


@needs_setting
def test_nothing_changes_where_products_would_be_rounded(monkeypatch):
    exact = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda one, other: exact(one.bfloat16(), other.bfloat16()).float())
    assert not is_exact()
    before = SETTING.fp32_precision
    with by_onednn():
        assert SETTING.fp32_precision == before


def test_nothing_changes_in_a_torch_that_cannot_be_told(monkeypatch):
    monkeypatch.setattr(float32_products, "_setting", lambda: None)
    assert not is_exact()
    with by_onednn():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).sum() == 8
