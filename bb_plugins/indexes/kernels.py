"""The nearest of many vectors: a scan of blocks that lie dimension by dimension.

In a block, (dim, width) f32, the elements of one dimension stand side by side. So the inner loop goes over vectors and
not over dimensions, and each pair's sum is added in order of dimension, whatever the CPU's vectors: equal inputs give
equal bytes on every machine. Eight dimensions at a time, for then the sums are loaded and stored once for eight.
"""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.kernels._jit import kernel


@kernel
def nearest(blocks, count, ids, queries, by_product, sums, scores, found):
    """Leave each query's nearest in a heap, the worst at its top.

    Args:
        blocks: (n, dim, width) f32, of which the first `count` vectors are stored.
        count: How many.
        ids: (count or more,) i64, one for each.
        queries: (q, dim) f32.
        by_product: Score by the negative inner product; otherwise by the squared distance. The lowest is the nearest.
        sums: (width,) f32, scratch.
        scores: (q, k) f32, infinite.
        found: (q, k) i64, the largest there is. Of equal scores the smaller id is nearer.
    """
    width = blocks.shape[2]
    for b in range(blocks.shape[0]):
        first = b * width
        used = min(width, count - first)
        if used <= 0:
            break
        for q in range(queries.shape[0]):
            if by_product:
                _negative_products(blocks[b], queries[q], sums)
            else:
                _squared_distances(blocks[b], queries[q], sums)
            worst = scores[q, 0]
            for j in range(used):
                if sums[j] <= worst and _is_nearer(sums[j], ids[first + j], worst, found[q, 0]):
                    _replace_worst(scores[q], found[q], sums[j], ids[first + j])
                    worst = scores[q, 0]


@kernel
def _squared_distances(block, query, sums):
    """Write the squared distance of each vector of a block from a query."""
    dim, width = block.shape
    sums[:] = 0
    whole = dim - dim % 8
    for d in range(0, whole, 8):
        b0, b1, b2, b3 = block[d], block[d + 1], block[d + 2], block[d + 3]
        b4, b5, b6, b7 = block[d + 4], block[d + 5], block[d + 6], block[d + 7]
        q0, q1, q2, q3 = query[d], query[d + 1], query[d + 2], query[d + 3]
        q4, q5, q6, q7 = query[d + 4], query[d + 5], query[d + 6], query[d + 7]
        for j in range(width):
            total = sums[j]
            total += (b0[j] - q0) * (b0[j] - q0)
            total += (b1[j] - q1) * (b1[j] - q1)
            total += (b2[j] - q2) * (b2[j] - q2)
            total += (b3[j] - q3) * (b3[j] - q3)
            total += (b4[j] - q4) * (b4[j] - q4)
            total += (b5[j] - q5) * (b5[j] - q5)
            total += (b6[j] - q6) * (b6[j] - q6)
            total += (b7[j] - q7) * (b7[j] - q7)
            sums[j] = total
    for d in range(whole, dim):
        row, element = block[d], query[d]
        for j in range(width):
            sums[j] += (row[j] - element) * (row[j] - element)


@kernel
def _negative_products(block, query, sums):
    """Write the negative inner product of each vector of a block with a query."""
    dim, width = block.shape
    sums[:] = 0
    whole = dim - dim % 8
    for d in range(0, whole, 8):
        b0, b1, b2, b3 = block[d], block[d + 1], block[d + 2], block[d + 3]
        b4, b5, b6, b7 = block[d + 4], block[d + 5], block[d + 6], block[d + 7]
        q0, q1, q2, q3 = query[d], query[d + 1], query[d + 2], query[d + 3]
        q4, q5, q6, q7 = query[d + 4], query[d + 5], query[d + 6], query[d + 7]
        for j in range(width):
            total = sums[j]
            total -= b0[j] * q0
            total -= b1[j] * q1
            total -= b2[j] * q2
            total -= b3[j] * q3
            total -= b4[j] * q4
            total -= b5[j] * q5
            total -= b6[j] * q6
            total -= b7[j] * q7
            sums[j] = total
    for d in range(whole, dim):
        row, element = block[d], query[d]
        for j in range(width):
            sums[j] -= row[j] * element


@kernel
def _is_nearer(score, id_, other, other_id):
    """Whether one is nearer than another."""
    return score < other or (score == other and id_ < other_id)


@kernel
def _replace_worst(scores, ids, score, id_):
    """Put a nearer one in the place of a heap's worst."""
    size, hole = np.int64(scores.shape[0]), np.int64(0)
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and _is_nearer(scores[child], ids[child], scores[child + 1], ids[child + 1]):
            child += 1
        if not _is_nearer(score, id_, scores[child], ids[child]):
            break
        scores[hole], ids[hole] = scores[child], ids[child]
        hole = child
    scores[hole], ids[hole] = score, id_
