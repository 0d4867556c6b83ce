"""The Codec that `bb new plugin` writes."""

from __future__ import annotations

from typing import Final

from bb_core.commands.scaffold.sketch import Sketch

_CODE: Final = '''
"""`$Class`: change this to what yours does."""

from typing import Any, ClassVar

import numpy as np

import bb_core as bb
from bb_core.errors import RoleError

LARGEST = float(np.finfo(np.float16).max)


@bb.concrete("$package.$Class")
class $Class(bb.roles.Codec):
    """Send float32 as float16: each element keeps eleven significant bits.

    Shape:
        value (...) f32 · encoded (...) f16, of the same shape
    """

    has_state: ClassVar[bool] = False

    def encode(self, ctx: bb.Context, value: bb.Tensor) -> tuple[Any, bb.Record]:
        """Compress; refuse what float16 cannot hold."""
        if value.dtype != np.float32 or not np.all(np.abs(value) <= LARGEST):
            raise RoleError(f"a {value.dtype} tensor cannot be halved", expected=f"float32 of at most {LARGEST}")
        half = value.astype(np.float16)
        off = half.astype(np.float64) - value
        return half, bb.Record(bytes_in=value.nbytes, bytes_out=half.nbytes, distortion=float(np.sum(off**2)))

    def decode(self, ctx: bb.Context, encoded: Any) -> bb.Tensor:
        """Undo Encode."""
        if not isinstance(encoded, np.ndarray) or encoded.dtype != np.float16:
            raise RoleError(f"a {type(encoded).__name__} was never encoded", expected="a float16 tensor")
        return encoded.astype(np.float32)
'''

_BENCH: Final = '''
"""`bb bench $short`: this package's Concrete beside plain numpy."""

from typing import Any

import numpy as np

from bb_core.testing import FakeContext
from $package import $Class


def test_bench_encode(row: Any) -> None:
    value = np.linspace(-1, 1, 100_000, dtype=np.float32)
    codec, ctx = $Class($Class.Config()), FakeContext()
    row("encode 100,000 x f32", lambda: codec.encode(ctx, value), limit=("astype", lambda: value.astype(np.float16)))
'''

_TEST: Final = '''
"""What is this Concrete's own; the promises of its Role are in test_conformance.py."""

import numpy as np
import pytest

from bb_core.errors import RoleError
from bb_core.testing import FakeContext
from $package import $Class


def test_it_halves_the_bytes() -> None:
    _, stats = $Class($Class.Config()).encode(FakeContext(), np.ones(8, np.float32))
    assert (stats["bytes_in"], stats["bytes_out"], stats["distortion"]) == (32, 16, 0.0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RoleError, match="cannot be halved"):
        $Class($Class.Config()).encode(FakeContext(), np.full(1, 1e9, np.float32))
'''

SKETCH: Final = Sketch(
    "codec",
    "Halves the bytes of a value: float32 travels as float16.",
    _CODE,
    _BENCH,
    _TEST,
    traits=', traits={"max_error": 2.0**-11}',
)
