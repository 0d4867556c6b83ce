"""The form in which the reference implementation writes its values: little-endian, fixed width, nothing in between.

A length or a count is a u64. There are no tags and no padding, so a value can only be read by who knows its type.

Source: bincode 1, default options; docs/reference/wire.md.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from bb_core.errors import PayloadError

_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")


def u32(value: int) -> bytes:
    """Write a u32."""
    return _U32.pack(value)


def u64(value: int) -> bytes:
    """Write a u64."""
    return _U64.pack(value)


def sized(raw: bytes) -> bytes:
    """Write bytes behind their length."""
    return _U64.pack(len(raw)) + raw


class Reader:
    """Read one payload from its start; each method raises `PayloadError` where the bytes end too soon."""

    __slots__ = ("_at", "_payload")

    def __init__(self, payload: memoryview) -> None:
        self._payload = payload
        self._at = 0

    def u8(self) -> int:
        """Read one byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Read a u32."""
        return self._number(_U32)

    def u64(self) -> int:
        """Read a u64."""
        return self._number(_U64)

    def count(self, item_bytes: int) -> int:
        """Read how many items follow; refused when the rest cannot hold so many of at least `item_bytes` each."""
        number = self.u64()
        if number * item_bytes > self.left:
            raise PayloadError(f"a payload promises {number} items in {self.left} bytes")
        return number

    def sized(self) -> memoryview:
        """Read bytes behind their length."""
        return self.take(self.u64())

    def take(self, length: int) -> memoryview:
        """Read so many bytes."""
        if length > self.left:
            raise PayloadError("a payload ends inside a value", where=f"byte {self._at}")
        self._at += length
        return self._payload[self._at - length : self._at]

    def finish(self) -> None:
        """Refuse bytes that are left over."""
        if self.left:
            raise PayloadError(f"a payload has {self.left} bytes too many", where=f"byte {self._at}")

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._payload) - self._at

    def _number(self, form: Struct) -> int:
        value: Any = form.unpack(self.take(form.size))[0]
        return int(value)
