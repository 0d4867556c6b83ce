"""The PeerSelector that `bb new plugin` writes."""

from __future__ import annotations

from typing import Final

from bb_core.commands.scaffold.sketch import Sketch

_CODE: Final = '''
"""`$Class`: change this to what yours does."""

from typing import ClassVar

import bb_core as bb


@bb.concrete("$package.$Class")
class $Class(bb.roles.PeerSelector):
    """Choose evenly at random among all peers of the address book."""

    has_state: ClassVar[bool] = False

    def current_view(self, ctx: bb.Context, *, peer_class: str = "") -> bb.PeerList:
        """Return all known peers, in order of id."""
        return bb.PeerList(ctx.peers(peer_class or None))

    def sample(self, ctx: bb.Context, *, n: int, peer_class: str = "") -> bb.PeerList:
        """Choose `n` at random without repetition, or all when there are fewer; in order of id."""
        known = ctx.peers(peer_class or None)
        if n >= len(known):
            return bb.PeerList(known)
        chosen = ctx.rng.choice(len(known), size=n, replace=False)
        return bb.PeerList(known[i] for i in sorted(chosen))
'''

_BENCH: Final = '''
"""`bb bench $short`: this package's Concrete beside plain numpy."""

from typing import Any

from bb_core.testing import FakeContext
from $package import $Class


def test_bench_sample(row: Any) -> None:
    selector, ctx = $Class($Class.Config()), FakeContext(peers=1_000)
    row(
        "sample 10 of 1,000",
        lambda: selector.sample(ctx, n=10),
        limit=("np.random.choice", lambda: ctx.rng.choice(1_000, size=10, replace=False)),
    )
'''

_TEST: Final = '''
"""What is this Concrete's own; the promises of its Role are in test_conformance.py."""

from collections import Counter

from bb_core.testing import FakeContext
from $package import $Class


def test_nobody_is_preferred() -> None:
    selector, ctx = $Class($Class.Config()), FakeContext(peers=10)
    times = Counter(peer for _ in range(2_000) for peer in selector.sample(ctx, n=3))
    assert len(times) == 10
    assert max(times.values()) < 1.3 * min(times.values())
'''

SKETCH: Final = Sketch(
    "peer_selector",
    "Chooses peers evenly at random.",
    _CODE,
    _BENCH,
    _TEST,
)
