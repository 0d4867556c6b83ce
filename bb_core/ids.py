"""Identifiers: who (`PeerId`), which execution (`ExecId`), which value in a function (`SiteId`), which request.

None of them is a counter that two Nodes could disagree on, except `ExecId`, which never leaves its Node.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple, NewType

from bb_core.errors import AddressError

ExecId = NewType("ExecId", int)
"""One execution (Frame) on one Node."""

SiteId = NewType("SiteId", int)
"""One value of one function, 64 bits, equal on every Node that has the artefact."""

ComponentId = NewType("ComponentId", int)
"""One slot path, 32 bits."""

_IDENTITY = 0x00
_MAX_DIGEST = 64
_ED25519_LENGTH = 32
_ED25519 = bytes((_IDENTITY, 36, 0x08, 0x01, 0x12, _ED25519_LENGTH))
"""Before the key: a multihash of 36 bytes, which are a protobuf message (key type 1, then the key's bytes)."""


class _Raw(NamedTuple):
    raw: bytes


class PeerId(_Raw):  # a tuple hashes and compares in C, and ids are looked up for every Envelope
    """Name a peer by a multihash: `uvarint(code) uvarint(length) digest`, at most 64 bytes of digest.

    The text form is base58btc, as in libp2p. Ids order by their bytes.

    Source: multiformats/multihash; docs/reference/wire.md.
    """

    __slots__ = ()

    def __new__(cls, raw: bytes) -> PeerId:
        """Check that it is a multihash."""
        _check_multihash(raw)
        return super().__new__(cls, bytes(raw))

    @classmethod
    def from_int(cls, number: int) -> PeerId:
        """Make a readable id for tests and simulations: the identity multihash of eight big-endian bytes."""
        return cls(bytes((_IDENTITY, 8)) + number.to_bytes(8, "big"))

    @classmethod
    def from_ed25519(cls, public_key: bytes) -> PeerId:
        """Make the id of whoever holds an Ed25519 key: the identity multihash of the key, as libp2p writes keys.

        Args:
            public_key: The raw key, 32 bytes.

        Source: libp2p specs, peer-ids/peer-ids.md.
        """
        if len(public_key) != _ED25519_LENGTH:
            raise AddressError(
                f"an Ed25519 public key has {len(public_key)} bytes", expected=f"{_ED25519_LENGTH}, in raw form"
            )
        return cls(_ED25519 + bytes(public_key))

    @property
    def ed25519(self) -> bytes | None:
        """The Ed25519 public key that this id is made of, 32 bytes; None for ids of other kinds."""
        is_key = self.raw.startswith(_ED25519) and len(self.raw) == len(_ED25519) + _ED25519_LENGTH
        return self.raw[len(_ED25519) :] if is_key else None

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """Read the base58btc text form."""
        import base58

        try:
            return cls(base58.b58decode(text))
        except ValueError as error:
            raise AddressError(
                f"{text!r} is not a peer id", expected="the base58btc text of a multihash", hint=str(error)
            ) from error

    def __str__(self) -> str:
        import base58

        return base58.b58encode(self.raw).decode("ascii")

    def __repr__(self) -> str:
        return f"PeerId({self})"


def _check_multihash(raw: bytes) -> None:
    code, at = read_uvarint(raw, 0)
    length, at = read_uvarint(raw, at)
    if length > _MAX_DIGEST or len(raw) - at != length:
        raise AddressError(
            f"a peer id of {len(raw)} bytes is not a multihash",
            expected=f"code, length and exactly that many digest bytes, at most {_MAX_DIGEST}",
            hash_code=code,
        )


def read_uvarint(raw: bytes, at: int) -> tuple[int, int]:
    """Read a number of a multihash or an address: its value, and where it ends.

    Longer forms than the shortest are refused, so that equal ids and equal addresses have equal bytes.

    Raises:
        AddressError: the bytes end inside it, or it is not in its shortest form, or above 64 bits.

    Source: multiformats/unsigned-varint.
    """
    value = shift = 0
    for end in range(at, min(at + 10, len(raw))):
        byte = raw[end]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if value < 1 << 64 and (byte or end == at):
                return value, end + 1
            break
    raise AddressError("the bytes end inside a number, or spell one too long", where=f"byte {at}")


def site_id(function: str, port: str) -> SiteId:
    """Hash one value of one function to 64 bits: BLAKE2b of `function, zero byte, port`.

    `port` carries the call-site scope (`student/grad`), so equal programs have equal ids and an edit elsewhere moves
    none.
    """
    digest = blake2b(f"{function}\0{port}".encode(), digest_size=8).digest()
    return SiteId(int.from_bytes(digest, "big"))


def component_id(slot: str) -> ComponentId:
    """Hash a slot path to 32 bits: BLAKE2b-64 folded by exclusive or."""
    wide = int.from_bytes(blake2b(slot.encode(), digest_size=8).digest(), "big")
    return ComponentId((wide >> 32) ^ (wide & 0xFFFFFFFF))


def fnv1a64(data: bytes) -> int:
    """Hash bytes by FNV-1a, 64 bits; the `type_hash` of a wire type is that of its dotted name."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value
