"""What is asked of a PeerSelector."""

from __future__ import annotations

from typing import Any

from bb_core.testing.checks import checks, expect
from bb_core.testing.subject import Call, Skip, Subject, Tour
from bb_core.testing.traits import PeerSelectorTraits
from bb_core.values import PeerList

TRAITS = PeerSelectorTraits


def tour(subject: Subject) -> Tour:
    """Look at the view, and draw samples."""
    yield Call("current_view", (), {"peer_class": ""})
    for n in (1, 3, subject.traits.peers + 5):
        yield Call("sample", (), {"n": n, "peer_class": ""})
    if subject.has("select"):
        yield Call("select", (b"\x01" * 32,), {"n": 3, "peer_class": ""})
    yield Call("sample", (), {"n": 2, "peer_class": ""})


def bad_calls(subject: Subject) -> list[tuple[str, Call]]:
    """A PeerSelector has no inputs that could be wrong; the recorder refuses a number below one."""
    return []


def _view(subject: Subject) -> PeerList:
    return PeerList(subject.stage().do("current_view", peer_class=""))


def _chosen(subject: Subject) -> list[tuple[int, Any]]:
    found = []
    for seed in range(5):
        for n in (1, 3, subject.traits.peers):
            found.append((n, subject.stage().do("sample", n=n, peer_class="", seed=seed)))
            if subject.has("select"):
                key = bytes([seed]) * 32
                found.append((n, subject.stage().do("select", key, n=n, peer_class="", seed=seed)))
    return found


def never_this_node(subject: Subject) -> None:
    """This Node itself is never chosen."""
    stage = subject.stage()
    own = stage.context(Call("sample")).peer_id
    for chosen in (_view(subject), *(c for _, c in _chosen(subject))):
        expect(own not in chosen, "this Node is among the peers")


def never_one_twice(subject: Subject) -> None:
    """No peer is chosen twice."""
    for chosen in (_view(subject), *(c for _, c in _chosen(subject))):
        expect(len(set(chosen)) == len(chosen), "a peer is chosen twice")


def samples_are_sorted(subject: Subject) -> None:
    """Sample and CurrentView give peers in order of id, whatever was drawn."""
    for seed in range(5):
        chosen = subject.stage().do("sample", n=4, peer_class="", seed=seed)
        expect(list(chosen) == sorted(chosen), "a sample is not in order of id")
    view = _view(subject)
    expect(list(view) == sorted(view), "the view is not in order of id")


def never_more_than_asked_for(subject: Subject) -> None:
    """A sample has as many peers as were asked for, or all when there are fewer."""
    known = len(_view(subject))
    for n, chosen in _chosen(subject):
        expect(len(chosen) <= n, f"{n} peers were asked for, {len(chosen)} given")
        if subject.traits.fills:
            expect(len(chosen) == min(n, known), f"{n} of {known} peers were asked for, {len(chosen)} given")


def chosen_from_the_view(subject: Subject) -> None:
    """Who is chosen is in the view; and the view is the address book, unless it has its own."""
    view = set(_view(subject))
    for _, chosen in _chosen(subject):
        expect(set(chosen) <= view, "a peer is chosen that is not in the view")
    if not subject.traits.sees_all:
        return
    book = set(subject.stage().context(Call("sample")).peers())
    expect(view == book, f"the view has {len(view)} peers, the address book {len(book)}")


def works_alone(subject: Subject) -> None:
    """A Node that knows nobody gets an empty list, not an error."""
    if not subject.traits.sees_all:
        raise Skip("it declares sees_all=False")
    stage = subject.stage()
    for method, keywords in (("current_view", {"peer_class": ""}), ("sample", {"n": 3, "peer_class": ""})):
        call = Call(method, (), keywords)
        ctx = stage.context(call)
        ctx._peers = []
        try:
            chosen = stage.settle(stage.start(call, ctx))
        except Exception as error:  # a Concrete may raise anything
            expect(False, f"{method} without peers raises {type(error).__name__}: {error}")
        expect(len(chosen) == 0, f"{method} without peers gives {len(chosen)}")


CHECKS = checks(
    never_this_node,
    never_one_twice,
    samples_are_sorted,
    never_more_than_asked_for,
    chosen_from_the_view,
    works_alone,
    tours=True,
)
