"""What is asked of a Codec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bb_core.testing.checks import checks, expect
from bb_core.testing.subject import Call, Skip, Stage, Subject, Tour
from bb_core.testing.traits import CodecTraits
from bb_core.testing.values import copied, same, short
from bb_core.values import Record
from bb_core.wire.payloads import decode_value, encode_value

TRAITS = CodecTraits


def _values(subject: Subject) -> Iterator[Any]:
    traits = subject.traits
    for number, shape in enumerate([*traits.shapes, *([(0,)] if traits.empty else [])]):
        for dtype in traits.dtypes:
            yield (10 * subject.random(number).standard_normal(shape)).astype(dtype)
    yield np.zeros(traits.shapes[0], traits.dtypes[0])
    yield np.ones(traits.shapes[0], traits.dtypes[0])


def _samples(subject: Subject) -> Any:
    shape = subject.traits.shapes[0]
    return subject.random(99).standard_normal((32, *shape)).astype(subject.traits.dtypes[0])


def tour(subject: Subject) -> Tour:
    """Learn, if it does, then encode and decode values of each shape and element type."""
    if subject.has("train"):
        yield Call("train", (_samples(subject),))
    for value in _values(subject):
        encoded, _ = yield Call("encode", (value,))
        yield Call("decode", (encoded,))


def bad_calls(subject: Subject) -> list[tuple[str, Call]]:
    """What is no tensor of numbers, and bytes that nobody has encoded."""
    return [
        ("a tensor of text", Call("encode", (np.array(["a", "b"]),))),
        ("bytes of nobody", Call("decode", (b"\x07garbage",))),
        ("no bytes", Call("decode", (b"",))),
    ]


def _ready(subject: Subject) -> Stage:
    stage = subject.stage()
    if subject.has("train"):
        stage.do("train", _samples(subject))
    return stage


def _pairs(subject: Subject) -> Iterator[tuple[Any, Any, Any, Any]]:
    stage = _ready(subject)
    for value in _values(subject):
        encoded, stats = stage.do("encode", value.copy())
        yield value, encoded, stats, np.asarray(stage.do("decode", copied(encoded)))


def shape_and_type_come_back(subject: Subject) -> None:
    """What is decoded has the shape and element type of what was encoded."""
    if not subject.traits.keeps_shape:
        raise Skip("it declares keeps_shape=False")
    for value, _, _, decoded in _pairs(subject):
        kept = (decoded.shape, decoded.dtype) == (value.shape, value.dtype)
        expect(kept, f"{value.dtype} of shape {value.shape} comes back as {decoded.dtype} of shape {decoded.shape}")


def the_error_is_as_declared(subject: Subject) -> None:
    """What is decoded is what was encoded: to the last bit, or within the declared bound."""
    traits = subject.traits
    if not traits.lossless and traits.max_error is None:
        raise Skip("it declares neither lossless nor max_error")
    for value, _, _, decoded in _pairs(subject):
        if traits.lossless:
            expect(value.tobytes() == decoded.tobytes(), f"{short(value)} comes back as {short(decoded)}")
            continue
        largest = float(np.abs(value).max(initial=0.0))
        off = float(np.abs(decoded.reshape(value.shape).astype(np.float64) - value).max(initial=0.0))
        expect(
            off <= traits.max_error * largest + 1e-12,
            f"an element is off by {off:.4g} where the largest is {largest:.4g}; max_error is {traits.max_error}",
        )


def sizes_are_true(subject: Subject) -> None:
    """`bytes_in` and `bytes_out` are the sizes of the value and of what was encoded; of a Record, of its tensors."""
    for value, encoded, stats, _ in _pairs(subject):
        expect(stats.get("bytes_in") == value.nbytes, f"bytes_in is {stats.get('bytes_in')}; it was {value.nbytes}")
        size = _size(encoded)
        if size is not None:
            expect(stats.get("bytes_out") == size, f"bytes_out is {stats.get('bytes_out')}; it was {size}")


def _size(encoded: Any) -> int | None:
    """Return how much data it is; None for a value that has more than tensors and bytes."""
    if isinstance(encoded, Record):
        sizes = [_size(field) for field in encoded.values()]
        return None if None in sizes else sum(size or 0 for size in sizes)
    if isinstance(encoded, np.ndarray):
        return encoded.nbytes
    return len(encoded) if isinstance(encoded, bytes) else None


def distortion_is_true(subject: Subject) -> None:
    """`distortion` of the stats is the squared error of what is decoded."""
    for value, _, stats, decoded in _pairs(subject):
        told = float(stats.get("distortion", np.nan))
        error = float(np.sum((decoded.reshape(-1).astype(np.float64) - value.reshape(-1)) ** 2))
        near = abs(told - error) <= 1e-3 * max(error, 1e-6)
        expect(near, f"distortion is {told:.6g}; the squared error is {error:.6g}")


def what_is_encoded_can_travel(subject: Subject) -> None:
    """What is encoded can be sent, and another instance decodes what arrives alike."""
    for value, encoded, _, decoded in _pairs(subject):
        type_hash, payload, _ = encode_value(encoded)
        raw = b"".join(bytes(p) for p in payload) if isinstance(payload, tuple) else bytes(payload)
        arrived = decode_value(type_hash, raw)
        again = np.asarray(_ready(subject).do("decode", arrived))
        expect(same(again, decoded), f"{short(value)} is decoded as {short(again)} elsewhere, here as {short(decoded)}")


CHECKS = checks(
    shape_and_type_come_back,
    the_error_is_as_declared,
    sizes_are_true,
    distortion_is_true,
    what_is_encoded_can_travel,
    tours=True,
)
