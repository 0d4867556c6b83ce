"""What is asked of an Index."""

from __future__ import annotations

from typing import Any

import numpy as np

from bb_core.testing.checks import checks, expect
from bb_core.testing.subject import Call, Skip, Stage, Subject, Tour
from bb_core.testing.traits import IndexTraits
from bb_core.testing.values import short

TRAITS = IndexTraits


def _vectors(subject: Subject, number: int = 0, count: int | None = None) -> Any:
    rows = subject.traits.count if count is None else count
    return subject.random(number).standard_normal((rows, subject.traits.dim)).astype(np.float32)


def tour(subject: Subject) -> Tour:
    """Store, search, remove and search again."""
    vectors = _vectors(subject)
    if subject.has("train"):
        yield Call("train", (_vectors(subject, 1),))
    ids = yield Call("add", (vectors, None))
    yield Call("search", (vectors[:3],), {"k": 4})
    yield Call("size")
    if subject.has("remove"):
        yield Call("remove", (np.asarray(ids)[:2],))
        yield Call("search", (vectors[:3],), {"k": 4})
    yield Call("add", (_vectors(subject, 2, 3), None))
    yield Call("search", (vectors[:1],), {"k": 2})
    yield Call("size")


def bad_calls(subject: Subject) -> list[tuple[str, Call]]:
    """Vectors of another length, and ids that do not fit."""
    wide = np.zeros((2, subject.traits.dim + 1), np.float32)
    return [
        ("vectors of another length", Call("add", (wide, None))),
        ("a query of another length", Call("search", (wide,), {"k": 1})),
        ("too few ids", Call("add", (_vectors(subject, 3, 4), np.arange(1000, 1002)))),
    ]


def _filled(subject: Subject) -> tuple[Stage, Any, Any]:
    stage, vectors = subject.stage(), _vectors(subject)
    if subject.has("train"):
        stage.do("train", _vectors(subject, 1))
    return stage, vectors, np.asarray(stage.do("add", vectors.copy(), None))


def ids_name_one_vector_each(subject: Subject) -> None:
    """Add gives a new id to each vector, and keeps those that it is given."""
    stage, vectors, ids = _filled(subject)
    expect(ids.shape == (len(vectors),), f"{len(vectors)} vectors got ids of shape {ids.shape}")
    more = np.asarray(stage.do("add", _vectors(subject, 2), None))
    expect(len({*ids.tolist(), *more.tolist()}) == 2 * len(vectors), "an id was given out twice")
    own = np.arange(10_000, 10_003, dtype=np.int64)
    kept = np.asarray(stage.do("add", _vectors(subject, 3, 3), own.copy()))
    expect(kept.tolist() == own.tolist(), f"the ids {own.tolist()} were given, {kept.tolist()} came back")


def size_counts(subject: Subject) -> None:
    """Size is how many vectors are stored."""
    stage = subject.stage()
    expect(int(stage.do("size")) == 0, f"a new one has the size {int(stage.do('size'))}")
    stage, vectors, _ = _filled(subject)
    expect(int(stage.do("size")) == len(vectors), f"with {len(vectors)} vectors the size is {int(stage.do('size'))}")


def what_is_stored_is_found(subject: Subject) -> None:
    """A stored vector that is searched for is found, first."""
    if not subject.traits.exact:
        raise Skip("it declares exact=False")
    stage, vectors, ids = _filled(subject)
    found, _ = stage.do("search", vectors.copy(), k=1)
    firsts = np.asarray(found).reshape(-1).tolist()
    expect(firsts == ids.tolist(), f"searching for the vectors {ids.tolist()[:5]}... finds {firsts[:5]}...")


def nearest_come_first(subject: Subject) -> None:
    """The scores of a query are in order, and ids are not repeated."""
    stage, vectors, _ = _filled(subject)
    found, scores = (np.asarray(v) for v in stage.do("search", vectors[:4].copy(), k=5))
    expect(found.shape == scores.shape == (4, 5), f"4 queries with k=5 give shapes {found.shape} and {scores.shape}")
    rises, falls = np.all(np.diff(scores, axis=1) >= 0), np.all(np.diff(scores, axis=1) <= 0)
    expect(rises or falls, f"the scores are not in order: {short(scores[0])}")
    expect(all(len(set(row)) == len(row) for row in found.tolist()), "an id is found twice for one query")


def fewer_than_k_are_filled_up(subject: Subject) -> None:
    """Where there are fewer than k vectors, the id is -1."""
    stage = subject.stage()
    if subject.has("train"):
        stage.do("train", _vectors(subject, 1))
    ids = np.asarray(stage.do("add", _vectors(subject, 0, 2), None))
    found = np.asarray(stage.do("search", _vectors(subject, 0, 1), k=5)[0])
    expect(found.shape == (1, 5), f"k=5 among two vectors gives the shape {found.shape}")
    expect(
        set(found[0, 2:].tolist()) == {-1}, f"k=5 among two vectors gives {found[0].tolist()}; expected -1 at the end"
    )
    if subject.traits.exact:
        expect(set(found[0, :2].tolist()) == set(ids.tolist()), f"the two vectors are not among {found[0].tolist()}")


def what_is_removed_is_gone(subject: Subject) -> None:
    """A removed vector is not found and not counted; removing an unknown id is no error."""
    subject.needs("remove")
    stage, vectors, ids = _filled(subject)
    stage.do("remove", ids[:3].copy())
    stage.do("remove", np.asarray([987_654_321], np.int64))
    found = np.asarray(stage.do("search", vectors[:3].copy(), k=len(vectors))[0])
    expect(not set(found.ravel().tolist()) & set(ids[:3].tolist()), "a vector that was removed is found")
    left = int(stage.do("size"))
    expect(left == len(vectors) - 3, f"after removing 3 of {len(vectors)} the size is {left}")


def another_length_is_refused(subject: Subject) -> None:
    """Vectors of another length than those stored are refused."""
    if not subject.traits.fixed_dim:
        raise Skip("it declares fixed_dim=False")
    for call in (call for what, call in bad_calls(subject) if "length" in what):
        stage, _, _ = _filled(subject)
        try:
            stage.call(call)
        except Exception:  # which error is another check's question
            continue
        expect(False, f"{call.method} takes vectors of another length")


CHECKS = checks(
    ids_name_one_vector_each,
    size_counts,
    what_is_stored_is_found,
    nearest_come_first,
    fewer_than_k_are_filled_up,
    what_is_removed_is_gone,
    another_length_is_refused,
    tours=True,
)
