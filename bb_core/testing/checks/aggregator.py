"""What is asked of an Aggregator."""

from __future__ import annotations

from typing import Any

import numpy as np

from bb_core.errors import QuorumNotReached
from bb_core.ids import PeerId
from bb_core.testing.checks import checks, expect
from bb_core.testing.context import FakeLater
from bb_core.testing.subject import Call, Skip, Stage, Subject, Tour
from bb_core.testing.traits import AggregatorTraits
from bb_core.testing.values import same, short
from bb_core.values import PeerList, Record

TRAITS = AggregatorTraits


def _cohort(subject: Subject) -> PeerList:
    return PeerList(PeerId.from_int(n) for n in range(1, subject.traits.cohort + 1))


def _update(subject: Subject, number: int) -> Any:
    traits, random = subject.traits, subject.random(number)
    if traits.update is not None:
        return traits.update(random, traits.parameters)
    return random.standard_normal(traits.parameters).astype(np.float32)


def _contribute(subject: Subject, peer: int, update: Any, request: int = 7) -> Call:
    stats = Record(subject.traits.stats(peer))
    return Call("contribute", (update, stats), {}, PeerId.from_int(peer + 1), request, True)


def _collect(subject: Subject, request: int = 7, **keywords: Any) -> Call:
    return Call("collect", (_cohort(subject),), keywords, requests=(request,))


def tour(subject: Subject) -> Tour:
    """Play two rounds: all contribute, then the collection answers at once, then all is combined."""
    for round_number in range(2):
        request = 7 + round_number
        for peer in range(subject.traits.cohort):
            yield _contribute(subject, peer, _update(subject, 100 * round_number + peer), request)
        yield _collect(subject, request)
        yield Call("aggregate")
    yield _contribute(subject, 0, _update(subject, 999), 99)
    yield Call("reset")


def bad_calls(subject: Subject) -> list[tuple[str, Call]]:
    """Updates that must not count, and an aggregation of nothing."""
    bad = _update(subject, 0).astype(np.float32)
    bad[:1] = np.nan
    return [
        ("an update that holds NaN", _contribute(subject, 0, bad)),
        ("an update of text", _contribute(subject, 0, np.array(["a"] * subject.traits.parameters))),
        ("nothing collected", Call("aggregate")),
    ]


def _round(subject: Subject, stage: Stage, updates: list[Any], order: list[int], request: int = 7) -> Any:
    for peer in order:
        stage.call(_contribute(subject, peer, updates[peer], request))
    stage.call(_collect(subject, request))
    return stage.call(Call("aggregate"), seed=request)


def _first_round(subject: Subject, updates: list[Any]) -> Any:
    return _round(subject, subject.stage(), updates, list(range(subject.traits.cohort)))


def _updates(subject: Subject) -> list[Any]:
    return [_update(subject, peer) for peer in range(subject.traits.cohort)]


def order_of_arrival_does_not_matter(subject: Subject) -> None:
    """The result is the same in whichever order the updates come."""
    if not subject.traits.deterministic:
        raise Skip("it declares deterministic=False")
    updates = _updates(subject)
    first = _first_round(subject, updates)
    order = list(range(subject.traits.cohort))[::-1]
    other = _round(subject, subject.stage(), updates, order)
    expect(same(first, other), f"in order of arrival it gives {short(first[0])}, in reverse {short(other[0])}")


def a_duplicate_replaces(subject: Subject) -> None:
    """An update that a peer sends twice counts once, the last one."""
    if not subject.traits.deterministic:
        raise Skip("it declares deterministic=False")
    updates = _updates(subject)
    wanted = _first_round(subject, updates)
    stage = subject.stage()
    stage.call(_contribute(subject, 0, updates[-1]))
    found = _round(subject, stage, updates, list(range(subject.traits.cohort)))
    expect(same(wanted, found), f"with a duplicate it gives {short(found[0])}, without {short(wanted[0])}")


def a_collection_may_begin_first(subject: Subject) -> None:
    """A collection that begins before the updates is answered by the last of them, with the same result."""
    if not subject.traits.deterministic:
        raise Skip("it declares deterministic=False")
    updates = _updates(subject)
    wanted = _first_round(subject, updates)
    stage = subject.stage()
    later = stage.start(_collect(subject, deadline=10**9), stage.context(_collect(subject)))
    expect(isinstance(later, FakeLater) and later.is_open, "a collection of nothing answers at once")
    for peer, update in enumerate(updates):
        expect(later.is_open, f"a collection of {len(updates)} peers answers after {peer}")
        stage.call(_contribute(subject, peer, update))
    expect(not later.is_open and later.error is None, "a collection of the whole cohort is not answered")
    found = stage.call(Call("aggregate"), seed=7)
    expect(same(wanted, found), f"collected first it gives {short(found[0])}, collected last {short(wanted[0])}")


def a_missed_quorum_fails(subject: Subject) -> None:
    """A collection with fewer updates than its minimum fails at its deadline, and the next one can begin."""
    stage = subject.stage()
    call = _collect(subject, deadline=10**9, minimum=2)
    later = stage.start(call, stage.context(call))
    stage.call(_contribute(subject, 0, _update(subject, 0)))
    stage.clock.advance("2s")
    expect(isinstance(later, FakeLater) and not later.is_open, "the collection is open after its deadline")
    expect(isinstance(later.error, QuorumNotReached), f"it ends with {later.error!r}; expected QuorumNotReached")
    _round(subject, stage, _updates(subject), list(range(subject.traits.cohort)), 8)


def equal_updates_come_out(subject: Subject) -> None:
    """When all peers send one update, that is the result of a first round."""
    if not subject.traits.identity:
        raise Skip("it declares identity=False")
    update = _update(subject, 0)
    found = np.asarray(_first_round(subject, [update.copy() for _ in range(subject.traits.cohort)])[0])
    _close(subject, found, update, "all peers sent")


def the_result_lies_between_the_updates(subject: Subject) -> None:
    """Each coordinate of a first round's result lies between the smallest and the largest that came in."""
    if not subject.traits.bounded:
        raise Skip("it declares bounded=False")
    updates = np.asarray(_updates(subject))
    found = np.asarray(_first_round(subject, list(updates))[0])
    _close(subject, found, np.clip(found, updates.min(axis=0), updates.max(axis=0)), "the nearest within bounds is")


def _close(subject: Subject, found: Any, wanted: Any, what: str) -> None:
    slack = subject.traits.tolerance * float(np.abs(wanted).max(initial=1.0))
    near = found.shape == wanted.shape and float(np.abs(found - wanted).max(initial=0.0)) <= slack
    expect(near, f"it gives {short(found)}; {what} {short(wanted)}")


def not_finite_is_refused(subject: Subject) -> None:
    """An update with NaN or infinity is refused, and does not count."""
    if not subject.traits.refuses_not_finite:
        raise Skip("it declares refuses_not_finite=False")
    for bad in (np.nan, np.inf):
        update = _update(subject, 0).astype(np.float32)
        update[-1:] = bad
        stage = subject.stage()
        try:
            stage.call(_contribute(subject, 0, update))
        except Exception:  # which error is another check's question
            continue
        expect(False, f"an update that holds {bad} is taken")


def reset_forgets(subject: Subject) -> None:
    """After Reset nothing that was contributed before counts."""
    if not subject.traits.deterministic:
        raise Skip("it declares deterministic=False")
    updates = _updates(subject)
    wanted = _first_round(subject, updates)
    stage = subject.stage()
    for peer in range(subject.traits.cohort):
        stage.call(_contribute(subject, peer, _update(subject, 50 + peer)))
    stage.call(Call("reset"))
    call = _collect(subject, deadline=10**9)
    later = stage.start(call, stage.context(call))
    expect(isinstance(later, FakeLater) and later.is_open, "what came before Reset fills the next collection")
    for peer, update in enumerate(updates):
        stage.call(_contribute(subject, peer, update))
    found = stage.call(Call("aggregate"), seed=7)
    expect(same(wanted, found), f"after Reset it gives {short(found[0])}, a new one {short(wanted[0])}")


CHECKS = checks(
    order_of_arrival_does_not_matter,
    a_duplicate_replaces,
    a_collection_may_begin_first,
    a_missed_quorum_fails,
    equal_updates_come_out,
    the_result_lies_between_the_updates,
    not_finite_is_refused,
    reset_forgets,
    tours=True,
)
