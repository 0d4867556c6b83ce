"""ONNX ops for `onnx.reference`, where its own are not exact: written plainly from the operator reference.

Its Erf computes in float32, its ConvTranspose mixes up groups, and the indices of its MaxPool are those of another
element when a window is not a square. Give them as `ReferenceEvaluator(model, new_ops=EXACT)`.
"""

from __future__ import annotations

from itertools import product
from math import erf
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun


class Erf(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray) -> tuple[Any, ...]:
        return (np.vectorize(erf, otypes=[np.float64])(x).astype(x.dtype).reshape(x.shape),)


class ConvTranspose(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **given: Any) -> tuple[Any, ...]:
        space = x.ndim - 2
        strides = given.get("strides") or [1] * space
        dilations = given.get("dilations") or [1] * space
        pads = given.get("pads") or [0] * (2 * space)
        more = given.get("output_padding") or [0] * space
        group = given.get("group") or 1
        sizes = w.shape[2:]
        full = [
            s * (n - 1) + (k - 1) * d + 1 + o
            for s, n, k, d, o in zip(strides, x.shape[2:], sizes, dilations, more, strict=True)
        ]
        each = w.shape[1]
        y = np.zeros((x.shape[0], each * group, *full), x.dtype)
        per = x.shape[1] // group
        for g in range(group):
            mine = x[:, g * per : (g + 1) * per]
            kernel = w[g * per : (g + 1) * per]
            for tap in product(*map(range, sizes)):
                part = np.einsum("nc...,cm->nm...", mine, kernel[(slice(None), slice(None), *tap)])
                where = tuple(
                    slice(t * d, t * d + s * (n - 1) + 1, s)
                    for t, d, s, n in zip(tap, dilations, strides, x.shape[2:], strict=True)
                )
                y[(slice(None), slice(g * each, (g + 1) * each), *where)] += part
        cut = tuple(slice(pads[i], full[i] - pads[space + i]) for i in range(space))
        y = y[(slice(None), slice(None), *cut)]
        return (y if b is None else y + b.reshape(-1, *[1] * space),)


class MaxPool(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray, **given: Any) -> tuple[Any, ...]:
        space = x.ndim - 2
        sizes = given["kernel_shape"]
        strides = given.get("strides") or [1] * space
        dilations = given.get("dilations") or [1] * space
        pads = given.get("pads") or [0] * (2 * space)
        out = [
            (x.shape[2 + i] + pads[i] + pads[space + i] - (sizes[i] - 1) * dilations[i] - 1) // strides[i] + 1
            for i in range(space)
        ]
        y = np.empty((*x.shape[:2], *out), x.dtype)
        where = np.empty(y.shape, np.int64)
        for place in product(*map(range, y.shape)):
            best = -1
            for tap in product(*map(range, sizes)):
                at = [place[2 + i] * strides[i] - pads[i] + tap[i] * dilations[i] for i in range(space)]
                if all(0 <= a < n for a, n in zip(at, x.shape[2:], strict=True)):
                    flat = int(np.ravel_multi_index((*place[:2], *at), x.shape))
                    if best < 0 or x.flat[flat] > x.flat[best]:
                        best = flat
            y[place], where[place] = x.flat[best], best
        return (y, where) if len(self.onnx_node.output) > 1 else (y,)


EXACT = [Erf, ConvTranspose, MaxPool]
