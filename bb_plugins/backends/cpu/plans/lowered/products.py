"""Products of matrices."""

from __future__ import annotations

from typing import Final

import numpy as np

from bb_plugins.backends.cpu.plans.lowered.common import Lower, all_f32, copy, shape_of
from bb_plugins.backends.cpu.plans.program import (
    ABSENT,
    At,
    Draft,
    Op,
    bits,
    broadcast_strides,
    collapsed,
)


def product(
    draft: Draft, m: int, n: int, k: int, a: At, b: At, out: At, *,
    turned: tuple[bool, bool] = (False, False), alpha: float = 1.0, beta: float = 0.0, count: int = 1,
    further: tuple[int, int, int] = (0, 0, 0),
) -> None:  # fmt: skip
    """Write alpha a b + beta out, for `count` products of which each is `further` bytes behind the one before.

    Args:
        draft: Where to.
        m: Rows of out.
        n: Columns of out.
        k: Columns of a and rows of b.
        a: (m, k), or (k, m) if it is turned.
        b: (k, n), or (n, k) if it is turned.
        out: (m, n).
        turned: Whether a and b are.
        alpha: Factor of the product.
        beta: Factor of what out holds; at 0 that is not read.
        count: How many products.
        further: Of a, b and out.
    """
    from bb_plugins.backends.cpu.plans.machine import multiplier

    draft.step(
        multiplier(),
        [count, int(turned[0]), int(turned[1]), m, n, k, bits(alpha), bits(beta), a, b, out, *further],
    )


def _gemm(draft: Draft, op: Op) -> bool:
    a, b = op.inputs[:2]
    c = op.inputs[2] if len(op.inputs) > 2 else ABSENT
    out = op.outputs[0]
    if not all_f32(draft, *[v for v in (a, b, c, out) if v]):
        return False
    turned = (op.node.flag("transA"), op.node.flag("transB"))
    alpha, beta = float(op.node.get("alpha", 1.0)), float(op.node.get("beta", 1.0))
    m, n = shape_of(draft, out)
    k = shape_of(draft, a)[0 if turned[0] else 1]
    if c != ABSENT:
        strides = broadcast_strides(shape_of(draft, c), (m, n))
        copy(draft, (m, n), 4, (draft.at(c), strides), (draft.at(out), [n, 1]))
    product(
        draft, m, n, k, draft.at(a), draft.at(b), draft.at(out), turned=turned, alpha=alpha,
        beta=beta if c != ABSENT else 0.0,
    )  # fmt: skip
    return True


def _matmul(draft: Draft, op: Op) -> bool:
    a, b = op.inputs
    out = op.outputs[0]
    if not all_f32(draft, a, b, out):
        return False
    left, right = shape_of(draft, a), shape_of(draft, b)
    left = (1, *left) if len(left) == 1 else left
    right = (*right, 1) if len(right) == 1 else right
    (m, k), n = left[-2:], right[-1]
    if len(right) == 2:  # one matrix for all rows
        m, left = int(np.prod(left[:-1], dtype=np.int64)), (k,)
        product(draft, m, n, k, draft.at(a), draft.at(b), draft.at(out))
        return True
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    lengths, (by_a, by_b) = collapsed(
        batch,
        [s * m * k for s in broadcast_strides(left[:-2], batch)],
        [s * k * n for s in broadcast_strides(right[:-2], batch)],
    )
    count = lengths[-1]
    if count == 1:
        by_a, by_b = [0] * len(lengths), [0] * len(lengths)
    for index, outer in enumerate(np.ndindex(*lengths[:-1])):
        first_a = sum(i * s for i, s in zip(outer, by_a[:-1], strict=True)) * 4
        first_b = sum(i * s for i, s in zip(outer, by_b[:-1], strict=True)) * 4
        product(
            draft, m, n, k, draft.at(a, first_a), draft.at(b, first_b), draft.at(out, index * count * m * n * 4),
            count=count, further=(by_a[-1] * 4, by_b[-1] * 4, m * n * 4),
        )  # fmt: skip
    return True


PRODUCTS: Final[dict[str, Lower]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
}
