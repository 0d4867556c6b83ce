"""Mutants of known inputs, the same for the same seed: for where no coverage-guided fuzzer is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 4096

_TELLING = (
    b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\x80\x00", b"\xff\x7f", b"\x80" * 4 + b"\x10", b"\xff" * 9 + b"\x01",
    b"\xff" * 10, b"\x00" * 8, b"\xff" * 8, b"\x0b", b"\x0c", b"\x12\x00", b"\x1a\x00", b"\x38\x01", b"\xe2\x01",
    b"\xe4\x01", b"\xa5\x03",
)  # fmt: skip
"""Bytes at which readers tend to break: ends of ranges, over-long varints, groups, keys of our own messages."""


def folders(target: str) -> list[Path]:
    """Return where the kept inputs of a target are; Envelopes that reach all of csrc are kept by themselves."""
    return [CORPUS / name for name in ((target, "c") if target == "envelope" else (target,))]


def seeds(target: str) -> list[bytes]:
    """Return the kept inputs of a target, in a fixed order."""
    return [path.read_bytes() for folder in folders(target) for path in sorted(folder.iterdir())]


def mutants(known: Sequence[bytes], random: Random) -> Iterator[bytes]:
    """Yield mutants without end, each a few changes away from a known input."""
    while True:
        mutant = random.choice(known)
        for _ in range(random.choice((1, 1, 2, 4))):
            mutant = random.choice(_CHANGES)(mutant, random, known)
        yield mutant[:LONGEST]


def _flip(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _step(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([(data[at] + random.choice((-1, 1))) % 256]) + data[at + 1 :]


def _overwrite(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    at, telling = random.randint(0, len(data)), random.choice(_TELLING)
    return data[:at] + telling + data[at + len(telling) :]


def _insert(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(_TELLING) + data[at:]


def _drop(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + data[at + random.randint(1, 16) :]


def _truncate(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    return data[: random.randint(0, len(data))]


def _repeat(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    at = random.randint(0, len(data))
    run = data[at : at + random.randint(1, 64)]
    return data[:at] + run * random.randint(2, 8) + data[at:]


def _splice(data: bytes, random: Random, known: Sequence[bytes]) -> bytes:
    other = random.choice(known)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


_CHANGES: tuple[Callable[[bytes, Random, Sequence[bytes]], bytes], ...] = (
    _flip, _step, _overwrite, _insert, _drop, _truncate, _repeat, _splice,
)  # fmt: skip
