from __future__ import annotations

from bb_core.engine import outbox
from bb_core.engine.outbox import Handed, Outbox
from bb_core.ids import PeerId

HANDED = Handed(PeerId.from_int(1), 5, b"door")


def numbers(box: Outbox) -> list[int]:
    """The ids that it remembers, in order."""
    return [number for number, *_ in box.state()["handed"]]


def test_an_id_is_taken_once_and_ids_only_grow() -> None:
    box = Outbox()
    assert [box.add(HANDED) for _ in range(3)] == [1, 2, 3]
    assert box.take(2) == HANDED
    assert box.take(2) is None
    assert box.take(4) is None
    assert box.add(HANDED) == 4
    assert numbers(box) == [1, 3, 4]


def test_the_oldest_without_an_outcome_are_forgotten(monkeypatch) -> None:
    monkeypatch.setattr(outbox, "MOST", 3)
    box = Outbox()
    for _ in range(3):
        box.add(HANDED)
    box.take(2)
    box.add(HANDED)
    assert numbers(box) == [1, 3, 4]
    box.add(HANDED)
    assert numbers(box) == [3, 4, 5]
    box.add(HANDED)
    assert numbers(box) == [4, 5, 6]


def test_a_restored_one_goes_on_where_it_was(monkeypatch) -> None:
    monkeypatch.setattr(outbox, "MOST", 2)
    box, again, empty = Outbox(), Outbox(), Outbox()
    for _ in range(1000):
        box.take(box.add(HANDED))
    empty.load(box.state())
    box.add(HANDED), box.add(HANDED)
    again.load(box.state())
    for each in (box, again):
        assert each.add(HANDED) == 1003
        assert numbers(each) == [1002, 1003]
    assert again.state() == box.state()
    assert [empty.add(HANDED) for _ in range(3)] == [1001, 1002, 1003]
    assert numbers(empty) == [1002, 1003]
