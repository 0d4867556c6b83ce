"""The fuzzing targets on what is kept of earlier runs, and on mutants of it: the same ones in every run."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from random import Random
from typing import Any

import pytest

from bb_core.errors import RemoteError
from bb_core.values import TRIGGER
from bb_core.wire.address import Address
from bb_core.wire.codec import decode
from bb_core.wire.payloads import decode_value, encode_value
from tests.fuzz.mutate import CORPUS, mutants, seeds
from tests.fuzz.targets import TARGETS, kinds
from tests.golden.load import envelopes

LARGEST = 300_000
"""Bytes of the whole corpus."""


def run(target: str, data: bytes) -> None:
    """Run one input, and name it when it breaks a promise."""
    try:
        TARGETS[target](data)
    except Exception as error:
        raise AssertionError(f"{target} fails on {data.hex()}") from error


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_breaks_no_promise(target: str) -> None:
    known = seeds(target)
    assert known
    for data in known:
        run(target, data)


@pytest.mark.parametrize("target", TARGETS)
def test_mutants_of_the_corpus_break_no_promise(target: str) -> None:
    for data in islice(mutants(seeds(target), Random(1)), 2000):
        run(target, data)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_many_mutants_of_the_corpus_break_no_promise(target: str) -> None:
    for data in islice(mutants(seeds(target), Random(2)), 100_000):
        run(target, data)


READERS: dict[str, Callable[[bytes], Any]] = {
    "envelope": decode,
    "address": Address.from_bytes,
    "payload": lambda data: decode_value(kinds()[data[0] % len(kinds())].type_hash, data[1:]) if data else None,
}


def greedy(item: bytes) -> bytes:
    """A list of small items, as many as there is room for in 64 KiB."""
    count = 2**16 // len(item)
    return count.to_bytes(8, "little") + item * count


GREEDY = {
    "empty addresses": ("AddressVecValue", greedy(bytes(8))),
    "components": ("AddressValue", greedy(b"\2\0\0\0\0\1\1\1")),
    "peers": ("PeerIdVecValue", greedy(b"\2" + bytes(9))),
    "triggers": ("CompositeValue", greedy(encode_value(TRIGGER)[0].to_bytes(8, "little") + bytes(8))),
}


def peak(read: Callable[[], Any]) -> int:
    """The most bytes that are allocated at once while something is read."""
    with suppress(RemoteError):
        read()  # caches are filled
    tracemalloc.start()
    try:
        with suppress(RemoteError):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_makes_a_reader_allocate_far_more_than_its_bytes(target: str) -> None:
    """A peer pays for memory with bytes: so many for each, and what an error takes."""
    for data in [*seeds(target), *islice(mutants(seeds(target), Random(3)), 300)]:
        assert peak(lambda data=data: READERS[target](data)) <= 20 * len(data) + 10_000, data.hex()


@pytest.mark.parametrize(("name", "payload"), GREEDY.values(), ids=GREEDY)
def test_the_smallest_items_take_no_more_than_twenty_times_their_bytes(name: str, payload: bytes) -> None:
    type_hash = next(kind.type_hash for kind in kinds() if kind.name.endswith(name))
    assert decode_value(type_hash, payload)
    assert peak(lambda: decode_value(type_hash, payload)) <= 20 * len(payload)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_stays_behind(target: str) -> None:
    known = [*seeds(target), *islice(mutants(seeds(target), Random(4)), 200)]
    for _ in range(2):
        for data in known:
            run(target, data)
    gc.collect()
    tracemalloc.start()
    try:
        held = []
        for _ in range(3):
            for data in known:
                run(target, data)
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[0] < 10_000, held


def test_golden_envelopes_are_in_the_corpus() -> None:
    assert set(envelopes().values()) <= set(seeds("envelope"))


def test_every_wire_type_is_in_the_corpus() -> None:
    assert {data[0] % len(kinds()) for data in seeds("payload") if data} == set(range(len(kinds())))


def test_the_corpus_stays_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < LARGEST
