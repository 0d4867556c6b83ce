"""The fixture `kernel_benchmark`: how near a kernel comes to what the machine can do, over shapes and element types.

The limit is measured, in turns with the kernel. Where `bytes_moved` is given it is a triad, a = b + s c, as in STREAM
(McCalpin 1995), over as many bytes as the kernel moves: what fits in a cache is compared with what a cache gives. Where
`flops` is given it is a product of two square matrices by BLAS, of the kernel's element type, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from bb_core.errors import RunFailed, UsageError
from bb_plugins.bench.harness import Call, Measure, Row

_ORDER: Final = 384  # of the matrices: large enough for BLAS to be at its best, small enough to take a millisecond
_SEED: Final = 0

Shape = Sequence[int]
Make = Callable[[np.random.Generator, Shape, np.dtype[Any]], tuple[Any, ...]]
Amount = Callable[[tuple[Any, ...]], float]


class KernelBenchmark:
    """What the fixture gives. Each call adds a row for each shape and element type."""

    def __init__(self, row: Measure) -> None:
        self._row = row

    def __call__(
        self,
        name: str,
        kernel: Callable[..., Any],
        *,
        make: Make,
        shapes: Iterable[Shape],
        dtypes: Iterable[str] = ("float32",),
        bytes_moved: Amount | None = None,
        flops: Amount | None = None,
        oracle: Callable[..., Any] | None = None,
        peer: tuple[str, Callable[..., Any]] | None = None,
        tolerance: float = 1e-5,
    ) -> list[Row]:
        """Hold the kernel against its oracle, then measure it.

        Args:
            name: What the rows are called; the shape and the element type follow.
            kernel: Called with the arguments that `make` gives; returns its result, or writes it to the last argument.
            make: Makes the arguments: `make(random, shape, dtype)`.
            shapes: The shapes; what they mean is for `make` to say.
            dtypes: Names of numpy's element types.
            bytes_moved: Of the arguments, how many bytes one call reads and writes at least.
            flops: Of the arguments, how many floating-point operations one call does. Either this or `bytes_moved`.
            oracle: Computes the same, plainly; the kernel's result is compared with its.
            peer: Who is compared with, and a callable of the same arguments.
            tolerance: Largest error against the oracle, relative to the largest element.

        Raises:
            UsageError: neither or both of `bytes_moved` and `flops` are given.
            RunFailed: the kernel's result is not the oracle's.
        """
        if (bytes_moved is None) == (flops is None):
            raise UsageError(
                "a kernel is held against memory or against arithmetic", expected="one of `bytes_moved` and `flops`"
            )
        rows = []
        for dtype in map(np.dtype, dtypes):
            for shape in shapes:
                arguments = make(np.random.Generator(np.random.Philox(_SEED)), shape, dtype)
                title = f"{name} {' x '.join(f'{side:,}' for side in shape)} {dtype}"
                if oracle is not None:
                    _compare(title, kernel(*arguments), oracle(*arguments), arguments, tolerance)
                amount = (bytes_moved or flops or _nothing)(arguments)
                what, limit, does = _triad(amount, dtype) if bytes_moved else _product(dtype)
                theirs = None if peer is None else (peer[0], _bound(peer[1], arguments))
                row = self._row(
                    title, _bound(kernel, arguments), peer=theirs, limit=(what, limit), limit_share=does / amount
                )
                rows.append(self._row.rate(row, amount, "GB/s" if bytes_moved else "GFLOP/s"))
        return rows


def _bound(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Call:
    return lambda: call(*arguments)


def _nothing(arguments: tuple[Any, ...]) -> float:
    raise AssertionError(arguments)


def _compare(title: str, found: Any, expected: Any, arguments: tuple[Any, ...], tolerance: float) -> None:
    """Refuse to measure what is wrong."""
    found, expected = np.asarray(arguments[-1] if found is None else found, np.float64), np.asarray(expected)
    if found.shape != expected.shape:
        raise RunFailed(f"{title} gives the shape {found.shape}", expected=f"{expected.shape}, as its oracle")
    off = float(np.abs(found - expected).max(initial=0))
    largest = float(np.abs(expected).max(initial=0))
    if not off <= tolerance * max(largest, 1e-30):
        raise RunFailed(f"{title} is off by {off:.3g}", expected=f"at most {tolerance:g} of {largest:.3g}")


def _triad(count: float, dtype: np.dtype[Any]) -> tuple[str, Call, float]:
    """Return a triad over about so many bytes: its name, a call, and how many bytes that moves."""
    from bb_plugins.bench.triad import triad

    kind = dtype if dtype.kind == "f" and dtype.itemsize in (4, 8) else np.dtype("float32")
    size = max(64, round(count / 3 / kind.itemsize))
    a, b, c = (np.full(size, fill, kind) for fill in (0, 1, 2))
    factor = kind.type(3)
    return "triad", lambda: triad(a, b, c, factor), 3 * size * kind.itemsize


@cache
def _product(dtype: np.dtype[Any]) -> tuple[str, Call, float]:
    """Return a product of two matrices by BLAS: its name, a call, and how many operations that is."""
    from bb_plugins.backends.cpu.blas import limit_blas

    limit_blas(1)
    kind = dtype if dtype in (np.float32, np.float64) else np.dtype("float32")
    a, b, out = (np.full((_ORDER, _ORDER), fill, kind) for fill in (1, 2, 0))
    return "BLAS", lambda: np.dot(a, b, out), 2.0 * _ORDER**3
