"""Deals examples to peers: evenly, by a Dirichlet distribution of labels, or in shards.

Each function returns one array of indices for each peer, ascending; together they hold every example once. Equal seeds
give equal arrays on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bb_core.errors import UsageError

Indices = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]

_DRAWS = 1000


def iid(labels: Labels, peers: int, seed: int = 0) -> list[Indices]:
    """Deal at random, in parts whose sizes differ by one at the most.

    Args:
        labels: (n,) labels; only their number matters.
        peers: How many peers there are.
        seed: Of the draw.
    """
    _check(labels, peers, at_least=1)
    return [np.sort(part) for part in np.array_split(_random(seed).permutation(len(labels)), peers)]


def dirichlet(labels: Labels, peers: int, alpha: float, seed: int = 0, min_size: int = 2) -> list[Indices]:
    """Deal each label's examples by shares from a symmetric Dirichlet distribution (Hsu, Qi & Brown 2019; per label).

    Draws again until every peer has `min_size` examples.

    Args:
        labels: (n,) labels.
        peers: How many peers there are.
        alpha: Concentration; the smaller, the fewer labels a peer has. Above 0.
        seed: Of the draws.
        min_size: Least number of examples of a peer.
    """
    if not 0 < alpha < float("inf"):
        raise UsageError(f"alpha is {alpha}", expected="a number above 0")
    _check(labels, peers, at_least=min_size)
    random = _random(seed)
    for _ in range(_DRAWS):
        parts = _deal(labels, peers, alpha, random)
        if min(len(part) for part in parts) >= min_size:
            return parts
    raise UsageError(
        f"in {_DRAWS} draws some peer always had fewer than {min_size} examples",
        expected=f"an alpha that {peers} peers can share {len(labels)} examples by",
        hint="raise alpha, or take fewer peers",
    )


def shards(labels: Labels, peers: int, shards_per_peer: int = 2, seed: int = 0) -> list[Indices]:
    """Sort by label, cut into equal shards, and deal each peer some at random (McMahan et al. 2017, section 3).

    Args:
        labels: (n,) labels.
        peers: How many peers there are.
        shards_per_peer: Shards of each; about as many labels does it see.
        seed: Of the draw.
    """
    if shards_per_peer < 1:
        raise UsageError(f"shards_per_peer is {shards_per_peer}", expected="at least 1")
    _check(labels, peers, at_least=shards_per_peer)
    pieces = np.array_split(np.argsort(labels, kind="stable"), peers * shards_per_peer)
    dealt = _random(seed).permutation(len(pieces)).reshape(peers, shards_per_peer)
    return [np.sort(np.concatenate([pieces[i] for i in row])) for row in dealt]


def _deal(labels: Labels, peers: int, alpha: float, random: np.random.Generator) -> list[Indices]:
    parts: list[list[Indices]] = [[] for _ in range(peers)]
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        shares = random.dirichlet(np.full(peers, alpha))
        cuts = np.floor(np.cumsum(shares)[:-1] * len(rows) + 0.5).astype(np.int64)
        for part, piece in zip(parts, np.split(rows, np.minimum(cuts, len(rows))), strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)) for part in parts]


def _check(labels: Labels, peers: int, at_least: int) -> None:
    if peers < 1:
        raise UsageError(f"peers is {peers}", expected="at least 1")
    if len(labels) < peers * at_least:
        raise UsageError(
            f"{len(labels)} examples cannot be dealt to {peers} peers",
            expected=f"at least {at_least} for each",
            hint=f"at most {len(labels) // max(at_least, 1)} peers",
        )


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))
