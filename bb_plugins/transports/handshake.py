"""The first frame in each direction: who is there, and which program it runs.

| bytes | what |
|---|---|
| 8 | `bb-hello`, so that whoever talks something else is known at once |
| 1 | version of the frames on this connection, 1 |
| 1 | length of the peer id, then the peer id |
| 1 | length of the artefact's digest, then the digest as ASCII text |

Both sides send it without waiting for the other's, and both check what they get: a refusal is named on either side.
What a later version adds stands after these, and version 1 ignores it.
"""

from __future__ import annotations

from typing import Final

import bb_core as bb
from bb_core.errors import AddressError, HandshakeRefused, IdentityRefused, ProgramMismatch
from bb_plugins.transports.interface import Hello

MAGIC: Final = b"bb-hello"
VERSION: Final = 1
LARGEST: Final = 1024
"""Bytes of the largest handshake: a stranger cannot make a Node hold more."""


def encode_hello(hello: Hello) -> bytes:
    """Write a handshake."""
    digest = hello.digest.encode("ascii")
    return b"".join((MAGIC, bytes((VERSION, len(hello.peer.raw))), hello.peer.raw, bytes((len(digest),)), digest))


def decode_hello(raw: bytes) -> Hello:
    """Read a handshake.

    Raises:
        HandshakeRefused: the bytes are none, or of another version.
    """
    at = len(MAGIC)
    if raw[:at] != MAGIC:
        raise HandshakeRefused(f"a connection began with {raw[:16]!r}", expected="the handshake of a Node")
    version = raw[at] if len(raw) > at else 0
    if version != VERSION:
        raise HandshakeRefused(f"a peer speaks version {version} of the transport", expected=f"version {VERSION}")
    try:
        peer, at = _counted(raw, at + 1)
        digest, _ = _counted(raw, at)
        return Hello(bb.PeerId(peer), digest.decode("ascii"))
    except (AddressError, UnicodeDecodeError, IndexError) as error:
        raise HandshakeRefused(f"a handshake is malformed: {error}") from error


def _counted(raw: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + raw[at]
    if end > len(raw):
        raise IndexError("it ends too early")
    return raw[at + 1 : end], end


def check_hello(theirs: Hello, ours: Hello, verified: bb.PeerId | None, expected: bb.PeerId | None) -> None:
    """Refuse a peer that is not who it should be, or does not run this side's program.

    Args:
        theirs: What it says.
        ours: What this side says.
        verified: Who it is, when the transport has proof of that.
        expected: Whom this side has dialed; None when it was dialed.

    Raises:
        IdentityRefused: it claims to be someone else, or is not the one who was called.
        ProgramMismatch: it runs another artefact.
    """
    if verified is not None and theirs.peer != verified:
        raise IdentityRefused(f"a peer claims to be {theirs.peer}", expected=f"{verified}, as its certificate says")
    if expected is not None and theirs.peer != expected:
        raise IdentityRefused(f"the peer that was reached is {theirs.peer}", expected=str(expected))
    if theirs.peer == ours.peer:
        raise IdentityRefused(
            f"a peer claims to be this Node, {ours.peer}", hint="does one of its addresses lead back to it?"
        )
    if theirs.digest != ours.digest:
        raise ProgramMismatch(
            f"peer {theirs.peer} runs the artefact {theirs.digest}",
            expected=f"{ours.digest}, which this Node runs",
            hint="compile once, and give every Node the same file",
            theirs=theirs.digest,
            ours=ours.digest,
        )
