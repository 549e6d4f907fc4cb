"""Products of states with the vectors of their nodes' children, without an (N, C, D) copy of the vectors."""

from __future__ import annotations

import warnings
from functools import cache
from threading import Lock
from typing import Any

import torch
from torch import Tensor

_WARNING_LOCK = Lock()
_GATHER_LIMIT = {"cpu": 2**20, "cuda": 2**28}
"""Size of the copy of children's vectors, in numbers, where sampled products are not available."""


def child_logits(
    hidden_ND: Tensor, weight_MD: Tensor, first_N: Tensor, count_N: Tensor, *, width: int, rows_M: Tensor | None = None
) -> Tensor:
    """Products of each state with a run of neighboring rows of a table.

    On a CPU these are sampled dense-dense products (SDDMM): each row of the table is read where it is needed. Elsewhere
    the rows are copied, in blocks of states.

    Args:
        hidden_ND: the states.
        weight_MD: the table.
        first_N: place of the first child, int64.
        count_N: number of children, 1 to ``width``.
        width: C.
        rows_M: where children are not the table's rows themselves, the row of each.

    Returns:
        logits_NC, -inf beyond a state's last child.
    """
    if _samples(hidden_ND):
        return _Sampled.apply(hidden_ND, weight_MD, first_N, count_N, width, rows_M)  # type: ignore[return-value]
    size = max(1, _GATHER_LIMIT.get(hidden_ND.device.type, 2**20) // (width * weight_MD.shape[1]))
    place_C = torch.arange(width, device=hidden_ND.device)
    parts = []
    for hidden_nD, first_n, count_n in zip(
        hidden_ND.split(size), first_N.split(size), count_N.split(size), strict=True
    ):
        child_nC = first_n[:, None] + torch.minimum(place_C, count_n[:, None] - 1)
        vectors_nCD = weight_MD[child_nC if rows_M is None else rows_M[child_nC]]
        logits_nC = torch.einsum("nd,ncd->nc", hidden_nD, vectors_nCD)
        parts.append(logits_nC.masked_fill(place_C >= count_n[:, None], -torch.inf))
    return torch.cat(parts)


def _samples(hidden_ND: Tensor) -> bool:
    """Whether torch has sampled products and their gradients here: on a CPU they need MKL."""
    can = hidden_ND.device.type == "cpu" and hidden_ND.dtype == torch.float32 and torch.backends.mkl.is_available()
    return can and _has_warned()


@cache
def _has_warned() -> bool:
    """Create a first sparse matrix, so that torch's warning about their beta state, once per process, is suppressed."""
    with _WARNING_LOCK, warnings.catch_warnings():  # the filters of warnings are those of all threads
        warnings.simplefilter("ignore")
        return _sparse(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), 1).is_sparse_csr


class _Sampled(torch.autograd.Function):
    """The products at the places of a sparse matrix (N, M) whose row n holds the children of state n."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_MD: Tensor,
        first_N: Tensor,
        count_N: Tensor,
        width: int,
        rows_M: Tensor | None,
    ) -> Tensor:
        row_start = torch.zeros(len(first_N) + 1, dtype=torch.int64)
        torch.cumsum(count_N, 0, out=row_start[1:])
        total = int(row_start[-1])
        column = torch.arange(total) - torch.repeat_interleave(row_start[:-1] - first_N, count_N, output_size=total)
        column = (column if rows_M is None else rows_M[column]).int()
        pattern = _sparse(row_start.int(), column, hidden_ND.new_zeros(total), len(weight_MD))
        values = torch.sparse.sampled_addmm(pattern, hidden_ND, weight_MD.T, beta=0.0).values()
        exists_NC = torch.arange(width) < count_N[:, None]
        ctx.save_for_backward(hidden_ND, weight_MD, row_start, column, exists_NC)
        return values.new_full(exists_NC.shape, -torch.inf).masked_scatter_(exists_NC, values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_MD, row_start, column, exists_NC = ctx.saved_tensors
        gradient_NM = _sparse(row_start.int(), column, gradients[0][exists_NC], len(weight_MD))
        to_hidden = gradient_NM @ weight_MD if ctx.needs_input_grad[0] else None
        to_weight = gradient_NM.t() @ hidden_ND if ctx.needs_input_grad[1] else None
        return to_hidden, to_weight, None, None, None, None


def _sparse(row_start: Tensor, column: Tensor, values: Tensor, width: int) -> Tensor:
    size = (len(row_start) - 1, width)
    return torch.sparse_csr_tensor(row_start, column, values, size, check_invariants=False)
