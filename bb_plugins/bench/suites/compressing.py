"""The Codecs, beside the same in plain numpy. The limit is one copy of the value.

numpy's int8 has one scale for all; its selection is `argpartition` of the magnitudes. All rows compute the distortion
too, ours and numpy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest

from bb_core.testing import FakeContext
from bb_plugins.bench.harness import Measure
from bb_plugins.codecs.float16 import Float16
from bb_plugins.codecs.int8_affine import Int8Affine
from bb_plugins.codecs.top_k import TopK

F32 = npt.NDArray[np.float32]

_CTX: Final = FakeContext()
_SHARE: Final = 0.05


def _half(value: F32) -> tuple[Any, float]:
    half = value.astype(np.float16)
    return half, float(np.sum((half.astype(np.float32) - value) ** 2))


def _int8(value: F32) -> tuple[Any, float]:
    scale = (value.max() - value.min()) / np.float32(255)
    zero = np.rint(-128 - value.min() / scale)
    codes = np.clip(np.rint(value / scale) + zero, -128, 127).astype(np.int8)
    return (codes, scale, zero), float(np.sum(((codes - zero) * scale - value) ** 2))


def _top_k(value: F32) -> tuple[Any, float]:
    places = np.argpartition(np.abs(value), -int(_SHARE * value.size))[-int(_SHARE * value.size) :]
    sent = np.zeros_like(value)
    sent[places] = value[places]
    return (places, value[places]), float(np.sum((sent - value) ** 2))


def _dense(encoded: tuple[Any, Any], size: int) -> F32:
    whole = np.zeros(size, np.float32)
    whole[encoded[0]] = encoded[1]
    return whole


_CODECS: Final[dict[str, tuple[Any, Callable[[F32], tuple[Any, float]], Callable[[Any, int], F32]]]] = {
    "Float16": (Float16(Float16.Config()), _half, lambda e, size: e.astype(np.float32)),
    "Int8Affine": (Int8Affine(Int8Affine.Config()), _int8, lambda e, size: (e[0] - e[2]) * e[1]),
    "TopK": (TopK(TopK.Config(share=_SHARE)), _top_k, _dense),
}


@pytest.mark.parametrize("size", [10_000, 1_000_000])
@pytest.mark.parametrize("name", _CODECS)
def test_codec(row: Measure, name: str, size: int) -> None:
    """Encode, with what it says of itself, and decode."""
    codec, encode, decode = _CODECS[name]
    value = np.random.Generator(np.random.Philox(0)).standard_normal(size, np.float32)
    encoded, _ = codec.encode(_CTX, value)
    theirs, _ = encode(value)
    limit = ("copy it", value.copy)
    row(
        f"{name}: encode {size:,}",
        lambda: codec.encode(_CTX, value),
        peer=("numpy", lambda: encode(value)),
        limit=limit,
    )
    row(
        f"{name}: decode {size:,}",
        lambda: codec.decode(_CTX, encoded),
        peer=("numpy", lambda: decode(theirs, size)),
        limit=limit,
    )


def test_rate(kernel_benchmark: Any) -> None:
    """Int8Affine's kernels by themselves, over sizes: from what stays in a cache to what does not."""
    from bb_plugins.codecs.kernels import from_int8, to_int8

    block = 4096

    def make(random: np.random.Generator, shape: Any, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        value = random.standard_normal(shape, dtype)
        blocks = -(-value.size // block)
        return value, block, np.full(blocks, 0.04, np.float32), np.zeros(blocks, np.int8), np.empty(shape, np.int8)

    def back(random: np.random.Generator, shape: Any, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        value, _, scales, zeros, codes = make(random, shape, dtype)
        to_int8(value, block, scales, zeros, codes)
        return codes, block, scales, zeros, np.empty_like(value)

    sizes = [(10_000,), (1_000_000,), (16_000_000,)]
    moved: Any = lambda args: float(args[0].nbytes + args[-1].nbytes)  # noqa: E731
    kernel_benchmark(
        "to_int8",
        to_int8,
        make=make,
        shapes=sizes,
        bytes_moved=moved,
        oracle=lambda value, *_: np.clip(np.rint(value / np.float32(0.04)), -128, 127),
    )
    kernel_benchmark(
        "from_int8",
        from_int8,
        make=back,
        shapes=sizes,
        bytes_moved=moved,
        oracle=lambda codes, *_: codes * np.float32(0.04),
    )
