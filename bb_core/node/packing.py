"""Values as bytes, for snapshots and recordings: MessagePack, with what flows along edges as extensions of it.

| extension | holds |
|---|---|
| 1 | a value as it would travel: type hash (8 bytes, little-endian), then its payload |
| 2 | a large value: type hash, then the digest of its payload, which stands elsewhere |
| 3 | large bytes: the digest |
| 4 | an error: code, message, place, expectation, hint |

Nothing here can name a class or run code. Large contents stand once, under their digest (BLAKE2b, 16 bytes), so that
those that a base holds already can be left out of an increment.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from bb_core.errors import BBError, RoleError, SnapshotError, TypeMismatch, all_errors
from bb_core.wire.payloads import decode_value, encode_value

_VALUE, _LARGE, _BYTES, _ERROR = 1, 2, 3, 4
_INLINE: Final = 1024
"""From this many bytes on, a content stands under its digest."""
_PLAIN: Final = (type(None), bool, int, float, str)


class Packer:
    """Packs values; large contents go into `blobs`."""

    def __init__(self) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self._encoder = msgspec.msgpack.Encoder()

    def pack(self, value: Any) -> bytes:
        """Write a value.

        Raises:
            SnapshotError: something in it is of a class that has no wire type.
        """
        return self._encoder.encode(self._plain(value))

    def _plain(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind in (bytes, bytearray, memoryview):
            raw = bytes(value)
            return raw if len(raw) < _INLINE else msgspec.msgpack.Ext(_BYTES, self._keep(raw))
        if kind in (list, tuple):
            return [self._plain(item) for item in value]
        if kind is dict:
            return {name: self._plain(item) for name, item in value.items()}
        if isinstance(value, BaseException):
            return self._error(value)
        return self._value(value)

    def _value(self, value: Any) -> msgspec.msgpack.Ext:
        try:
            type_hash, payload, _ = encode_value(value)
        except TypeMismatch as error:
            raise SnapshotError(
                f"a {type(value).__name__} cannot be kept: {error.message}",
                expected="a value that could be sent",
                hint="give its class a wire type: `types.declare(..., encode=..., decode=...)`",
            ) from error
        raw = b"".join(bytes(p) for p in payload) if isinstance(payload, tuple) else bytes(payload)
        head = type_hash.to_bytes(8, "little")
        if len(raw) < _INLINE:
            return msgspec.msgpack.Ext(_VALUE, head + raw)
        return msgspec.msgpack.Ext(_LARGE, head + self._keep(raw))

    def _keep(self, raw: bytes) -> bytes:
        digest = blake2b(raw, digest_size=16).digest()
        self.blobs[digest] = raw
        return digest

    def _error(self, error: BaseException) -> msgspec.msgpack.Ext:
        if not isinstance(error, BBError):
            error = RoleError(f"{type(error).__name__}: {error}")
        fields = {name: value for name, value in error.fields.items() if type(value) in _PLAIN}
        parts = [error.code, error.message, error.where, error.expected, error.hint, fields]
        return msgspec.msgpack.Ext(_ERROR, self._encoder.encode(parts))


def unpack(data: bytes, blobs: Mapping[bytes, bytes]) -> Any:
    """Read a value. Lists and tuples come back as lists.

    Raises:
        ValueError: the bytes are no value, or a content is missing among `blobs`.
    """

    def read(code: int, content: memoryview) -> Any:
        if code == _VALUE:
            return decode_value(int.from_bytes(content[:8], "little"), bytes(content[8:]))
        if code == _LARGE:
            return decode_value(int.from_bytes(content[:8], "little"), _find(blobs, bytes(content[8:])))
        if code == _BYTES:
            return _find(blobs, bytes(content))
        if code == _ERROR:
            return _read_error(content)
        raise ValueError(f"there is no extension {code}")

    try:
        return msgspec.msgpack.Decoder(ext_hook=read).decode(data)
    except (msgspec.MsgspecError, BBError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _find(blobs: Mapping[bytes, bytes], digest: bytes) -> bytes:
    if digest not in blobs:
        raise ValueError(f"the content {digest.hex()} is missing")
    return blobs[digest]


def _read_error(content: memoryview) -> BBError:
    code, message, where, expected, hint, fields = msgspec.msgpack.decode(content)
    cls = next((e for e in all_errors() if e.code == code), RoleError)
    error: BBError = cls(message, where=where, expected=expected, hint=hint, **fields)
    return error
