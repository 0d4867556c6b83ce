"""`bb bench trimmed_mean`: the kernel beside numpy's sort, and beside a triad over as many bytes."""

from typing import Any

import numpy as np

from bb_trimmed_mean.kernel import trimmed_mean

TRIM = 2


def make(random: np.random.Generator, shape: Any, dtype: np.dtype) -> tuple[Any, ...]:
    """Make the arguments of one call: updates of so many peers, and room for the result."""
    peers, size = shape
    return random.standard_normal((peers, size)).astype(dtype), TRIM, np.empty(size, dtype)


def by_numpy(updates: Any, trim: int, out: Any) -> Any:
    """Do the same as one would in numpy."""
    return np.sort(updates, axis=0)[trim : len(updates) - trim].mean(axis=0)


def test_bench_kernel(kernel_benchmark: Any) -> None:
    kernel_benchmark(
        "trimmed mean",
        trimmed_mean,
        make=make,
        shapes=[(10, 10_000), (20, 10_000), (20, 1_000_000)],
        bytes_moved=lambda arguments: arguments[0].nbytes + arguments[2].nbytes,
        oracle=by_numpy,
        peer=("np.sort", by_numpy),
    )
