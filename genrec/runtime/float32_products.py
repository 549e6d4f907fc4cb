"""float32 matrix products by oneDNN, where it gives the same numbers: on processors that are not Intel's, torch's own
library for them (MKL) leaves half of the speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock
from typing import Any

_SETTING_LOCK = RLock()
_blocks = 0
_before: Any = None


@contextmanager
def by_onednn() -> Iterator[None]:
    """Compute float32 products on the CPU by oneDNN inside the block, backward passes included.

    Torch (2.9 or later, AVX-512) does that only where oneDNN may compute in bfloat16. It does so on processors with
    matrix tiles (AMX) alone; there, as on every other machine where products would not be those of float32, nothing
    changes. Small attentions of torch's own (``scaled_dot_product_attention``) take several times as long inside.

    The setting is one of the whole process: with blocks in several threads it holds until the last of them ends.
    """
    global _blocks, _before
    if not is_exact():
        yield
        return
    setting = _setting()
    with _SETTING_LOCK:
        if _blocks == 0:
            _before = setting.fp32_precision
            setting.fp32_precision = "bf16"
        _blocks += 1
    try:
        yield
    finally:
        with _SETTING_LOCK:
            _blocks -= 1
            if _blocks == 0:
                setting.fp32_precision = _before


def _setting() -> Any:
    """What torch may do with float32 products that oneDNN computes; None in versions without such a setting."""
    import torch

    return getattr(torch.backends.mkldnn, "matmul", None)


@cache
def is_exact() -> bool:
    """Whether oneDNN's products are those of float32, on matrices that bfloat16 and TF32 would round."""
    import torch

    setting = _setting()
    if setting is None or not torch.backends.mkldnn.is_available():
        return False
    with _SETTING_LOCK, torch.inference_mode():
        before = setting.fp32_precision
        setting.fp32_precision = "bf16"
        try:
            for size in (8, 64, 512):
                first, second = torch.full((size, size), 1 + 2.0**-20), torch.eye(size)
                batch = first.expand(4, size, size)
                if not (torch.equal(first @ second, first) and torch.equal(batch @ second.expand_as(batch), batch)):
                    return False
        finally:
            setting.fp32_precision = before
    return True
