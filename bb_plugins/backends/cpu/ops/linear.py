"""Matrix products, by BLAS, and what is written in terms of them."""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, is_narrow


def matmul(a: Array, b: Array) -> Array:
    """Multiply matrices, stacks of them too; narrow floats are summed in float32."""
    if is_narrow(a.dtype):
        return np.asarray(np.matmul(a.astype(np.float32), b.astype(np.float32))).astype(a.dtype)
    return np.asarray(np.matmul(a, b))


def gemm(node: Node) -> Kernel:
    """Alpha A B + beta C, either matrix turned first if the attributes say so."""
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    turn_a, turn_b = node.flag("transA"), node.flag("transB")

    def run(a: Array, b: Array, c: Array | None = None) -> Array:
        out = matmul(a.T if turn_a else a, b.T if turn_b else b)  # BLAS reads a turned matrix where it stands
        if alpha != 1:
            out *= out.dtype.type(alpha)
        if c is not None and beta != 0:
            out += c if beta == 1 else c * c.dtype.type(beta)
        return out

    return run


def einsum(node: Node) -> Kernel:
    """Sum products over indices that are named, in Einstein's way."""
    equation = node.text("equation", "").replace(" ", "")

    def run(*parts: Array) -> Array:
        wide = [p.astype(np.float32) if is_narrow(p.dtype) else p for p in parts]
        return np.asarray(np.einsum(equation, *wide, optimize=len(parts) > 1)).astype(parts[0].dtype, copy=False)

    return run


def determinant(x: Array) -> Array:
    """Determinant of each matrix."""
    return np.asarray(np.linalg.det(x), x.dtype)
