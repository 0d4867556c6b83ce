"""Many updates to one: means, medians, distances. On one thread, without a copy of all that is reduced.

Theory of operation. A mean streams: four updates at a time are added to the sum, so that the sum is read and written
once for four of them. What needs all updates of a coordinate at once works on *blocks*: some columns of every update
are copied to one buffer, in which they are sorted or compared, and which stays in the processor's cache. The updates
may be of any floating type and layout; results are f32. NaN is refused before (`Aggregator.accept`), and not looked for
here.

Equal inputs give equal bytes: coordinates do not depend on one another, and a distance adds its blocks in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import ContributionRefused
from bb_plugins.backends.cpu.backend import primitive

_BLOCK_BYTES: Final = 2**21  # what one core may hope to keep in its caches
_PADDING: Final = 16  # rows of a block do not begin a power of two apart, or they would share the cache's sets
_NETWORK_ROWS: Final = 1024  # above, comparators (n log^2 n) cost more than a sort


def weighted_mean(updates: Iterable[bb.Tensor], weights: Sequence[Any]) -> bb.Tensor:
    """Return sum(w_k x_k) / sum(w_k) as f32, added in the order given.

    The updates may be made while they are asked for: no more than four are held.

    Shape:
        updates: (d,) each · returns (d,)
    """
    whole = sum(weights)
    scales = np.array([weight / whole for weight in weights], np.float32)
    add_four, add_one = primitive("add_four_scaled"), primitive("add_scaled")
    given = iter(updates)
    group = list(islice(given, 4))
    total = np.empty(group[0].shape, np.float32)
    total.fill(0)  # memory of np.zeros, read before it is written, would be mapped twice
    flat, at = total.reshape(-1), 0
    while group:
        _check_shapes(total.shape, group)
        if len(group) == 4:
            add_four(flat, scales[at : at + 4], *map(_flat, group))
        else:
            for update, scale in zip(group, scales[at:], strict=True):
                add_one(flat, _flat(update), scale)
        at += len(group)
        group.clear()  # before the next are made
        group += islice(given, 4)
    if at != len(scales):
        raise ValueError(f"{at} updates with {len(scales)} weights")
    return total


def trimmed_mean(updates: Sequence[bb.Tensor], trim: int) -> bb.Tensor:
    """Return each coordinate's mean without its `trim` largest and `trim` smallest, as f32; 2 * trim < K.

    The error is at most (K - 2 trim) * 2^-24 of the largest magnitude that is kept. It does not depend on the order of
    the updates.

    Shape:
        updates: (d,) each · returns (d,)
    """
    peers = len(updates)
    comparators = network(peers, trim) if peers <= _NETWORK_ROWS else None
    sort_columns, mean_of_rows = primitive("sort_columns"), primitive("mean_of_rows")
    result = np.empty(updates[0].shape, np.float32)
    flat = result.reshape(-1)
    for start, end, block in _blocks(updates):
        if comparators is None:
            block[:, : end - start].sort(axis=0)
        else:
            sort_columns(block, end - start, comparators)
        mean_of_rows(block, trim, peers - trim, flat[start:end])
    return result


def coordinate_median(updates: Sequence[bb.Tensor]) -> bb.Tensor:
    """Return each coordinate's median as f32, of an even number the mean of the two in the middle.

    Shape:
        updates: (d,) each · returns (d,)
    """
    return trimmed_mean(updates, (len(updates) - 1) // 2)


def squared_distances(updates: Sequence[bb.Tensor]) -> npt.NDArray[np.float64]:
    """Return the squared Euclidean distance of each pair of updates: symmetric, 0 on the diagonal.

    Differences and squares are f32, as are sums over at most a block; these are added in f64. The relative error is
    below 2^-10 in the worst case and near 2^-24 in practice, also for updates that are close to one another.

    Shape:
        updates: (d,) each · returns (K, K)
    """
    peers = len(updates)
    rows = -(-peers // 4) * 4  # the kernel takes four at a time; what is beyond the updates is zeros, and cut off
    total = np.zeros((rows, rows))
    add = primitive("add_squared_distances")
    for start, end, block in _blocks(updates, 4096, rows):
        add(block, end - start, total)
    upper = np.triu(total[:peers, :peers], 1)
    return upper + upper.T


@lru_cache(maxsize=64)
def network(rows: int, trim: int) -> npt.NDArray[np.int32]:
    """Return a sorting network as (n, 2) pairs, without the comparators on which the rows that are kept do not depend.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, algorithm 5.2.2 M).
    """
    pairs: list[tuple[int, int]] = []
    top = 1 << max(0, (rows - 1).bit_length() - 1)
    p = top
    while p > 0 and rows > 1:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(rows - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    needed, kept = set(range(trim, rows - trim)), []
    for low, high in reversed(pairs):
        if low in needed or high in needed:
            needed |= {low, high}
            kept.append((low, high))
    comparators = np.array(kept[::-1], np.int32).reshape(-1, 2)
    comparators.flags.writeable = False
    return comparators


def _check_shapes(shape: tuple[int, ...], updates: Iterable[bb.Tensor]) -> None:
    """Refuse an update of another shape: a kernel would read beyond its end."""
    for update in updates:
        if update.shape != shape:
            raise ContributionRefused(
                f"an update of shape {update.shape} is among others of shape {shape}",
                hint="all peers of a round must train the same model",
            )


def _flat(update: bb.Tensor) -> bb.Tensor:
    """Return an update as flat, aligned, read-only f32, so that a kernel has one signature."""
    flat = np.ascontiguousarray(update, np.float32).reshape(-1)
    flags = flat.flags
    if not flags.aligned:
        return _flat(flat.copy())
    flags.writeable = False
    return flat


def _blocks(
    updates: Sequence[bb.Tensor], most: int = 2**15, rows: int = 0
) -> Iterator[tuple[int, int, npt.NDArray[np.float32]]]:
    """Copy the updates block by block into one buffer, and give each: (first column, end, buffer).

    Args:
        updates: One for each row.
        most: So many columns at once, or fewer.
        rows: Rows of the buffer when they are more than the updates; the others are zeros.
    """
    _check_shapes(updates[0].shape, updates)
    sources = [np.asarray(update).reshape(-1) for update in updates]
    size, rows = sources[0].shape[0], max(rows, len(sources))
    columns = min(most, max(512, _BLOCK_BYTES // (4 * rows) // 512 * 512), max(1, size))
    block = np.zeros((rows, columns + _PADDING), np.float32)
    for start in range(0, size, columns):
        end = min(size, start + columns)
        for row, source in zip(block, sources, strict=False):
            row[: end - start] = source[start:end]
        yield start, end, block
