"""Snapshots: all that a Node is, as bytes.

Layout: eight bytes that say what this is, the length of the body (eight bytes, little-endian), the body, and BLAKE2b
(16 bytes) over all before it. The body is MessagePack (see `packing`): format, release, digest of the artefact, peer,
targets, the base's checksum when it is an increment, the state, and the large contents by their digests.

A snapshot is read, checked and turned into an Engine of its own before anything of the Node changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from bb_core.engine.engine import Engine
from bb_core.engine.explaining import explain
from bb_core.engine.state import capture, revive
from bb_core.errors import BBError, SnapshotDamaged, SnapshotError, SnapshotMismatch
from bb_core.node.inputs import Input, unpacked
from bb_core.node.packing import Packer, unpack
from bb_core.version import __version__

MAGIC: Final = b"BBSNAP\r\n"
FORMAT: Final = 3
_SUM: Final = 16


@dataclass(frozen=True, slots=True)
class Header:
    """What a snapshot says of itself.

    Attributes:
        format: Of the bytes; another release may have another.
        release: The release that wrote it.
        digest: Of the artefact.
        peer: Text of the peer id.
        targets: What the Node hosts.
        now: The Node's time, in nanoseconds.
        base: Checksum of the snapshot that an increment needs; empty when it stands alone.
        waiting: What the Node waited for, in words.
    """

    format: int
    release: str
    digest: str
    peer: str
    targets: tuple[str, ...]
    now: int
    base: bytes
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Parts:
    header: Header
    state: bytes
    blobs: dict[bytes, bytes]
    known: frozenset[bytes]
    checksum: bytes


def snapshot(engine: Engine, targets: Sequence[str], now: int, ingress: list[Input], since: bytes | None) -> bytes:
    """Write a snapshot of an Engine that is between two polls; see `Node.snapshot`."""
    packer = Packer()
    base = None if since is None else _read(since, "the base")
    if base is not None:
        _match(base.header, engine, targets)
    state = packer.pack({"engine": capture(engine), "ingress": ingress})
    known = frozenset() if base is None else base.known | base.blobs.keys()
    body = {
        "format": FORMAT,
        "release": __version__,
        "digest": engine.program.digest,
        "peer": str(engine.peer_id),
        "targets": list(targets),
        "now": now,
        "base": b"" if base is None else base.checksum,
        "waiting": [str(w) for w in explain(engine)],
        "state": state,
        "known": sorted(known & packer.blobs.keys()),
        "blobs": [[d, packer.blobs[d]] for d in sorted(packer.blobs.keys() - known)],
    }
    raw = msgspec.msgpack.encode(body)
    data = MAGIC + len(raw).to_bytes(8, "little") + raw
    return data + blake2b(data, digest_size=_SUM).digest()


def restored(
    engine: Engine, targets: Sequence[str], data: Sequence[bytes], incarnation: int | None
) -> tuple[int, list[Input]]:
    """Make a fresh Engine what a snapshot holds; returns the Node's time and what waits to be taken in."""
    if not data:
        raise SnapshotMismatch("there is nothing to restore", expected="a snapshot, and what was taken since it")
    blobs: dict[bytes, bytes] = {}
    before = b""
    for number, raw in enumerate(data, 1):
        parts = _read(raw, f"snapshot {number} of {len(data)}" if len(data) > 1 else "the snapshot")
        if parts.header.base != before:
            raise SnapshotMismatch(
                "the snapshot is an increment of another one" if parts.header.base else "an increment stands alone",
                expected="a whole snapshot first, then each that was taken since the one before it",
            )
        _match(parts.header, engine, targets)
        blobs |= parts.blobs
        before = parts.checksum
    try:
        state = unpack(parts.state, blobs)
        ingress = [unpacked(*one) for one in state["ingress"]]
        revive(engine, state["engine"], incarnation)
    except BBError as error:
        raise SnapshotError(f"the snapshot cannot be restored: {error.message}", hint=error.hint) from error
    except Exception as error:  # whatever the content is, the caller gets one error of ours
        raise SnapshotDamaged(
            f"the snapshot's content does not fit: {type(error).__name__}: {error}", hint="restore an older one"
        ) from error
    return parts.header.now, ingress


def header(data: bytes) -> Header:
    """Read what a snapshot says of itself.

    Raises:
        SnapshotDamaged, SnapshotMismatch: as `Node.restore`.
    """
    return _read(data, "the snapshot").header


def _read(data: bytes, title: str) -> _Parts:
    """Check a snapshot's frame and checksum, then read its body."""
    raw = bytes(data)
    if not raw.startswith(MAGIC[: len(raw)]) or not raw:
        raise SnapshotDamaged(f"{title} is no snapshot", expected="bytes that Node.snapshot has returned")
    at = len(MAGIC) + 8
    length = int.from_bytes(raw[len(MAGIC) : at], "little")
    if len(raw) < at or len(raw) < at + length + _SUM:
        raise SnapshotDamaged(f"{title} is cut short: {len(raw)} bytes", hint="restore an older one")
    if len(raw) > at + length + _SUM or blake2b(raw[:-_SUM], digest_size=_SUM).digest() != raw[-_SUM:]:
        raise SnapshotDamaged(f"{title} has changed since it was written", hint="restore an older one")
    body: dict[str, Any] = msgspec.msgpack.decode(raw[at:-_SUM])
    if body["format"] != FORMAT:
        raise SnapshotMismatch(
            f"{title} has format {body['format']}, written by release {body['release']}",
            expected=f"format {FORMAT}, as release {__version__} writes",
            hint=f"restore it with release {body['release']}",
        )
    found = Header(
        body["format"], body["release"], body["digest"], body["peer"], tuple(body["targets"]), body["now"],
        body["base"], tuple(body["waiting"]),
    )  # fmt: skip
    return _Parts(found, body["state"], dict(body["blobs"]), frozenset(body["known"]), raw[-_SUM:])


def _match(found: Header, engine: Engine, targets: Sequence[str]) -> None:
    """Refuse a snapshot that is not of this Node's artefact, peer and targets."""
    for what, theirs, ours in (
        ("artefact", found.digest, engine.program.digest),
        ("peer", found.peer, str(engine.peer_id)),
        ("set of targets", ", ".join(found.targets), ", ".join(targets)),
    ):
        if theirs != ours:
            raise SnapshotMismatch(f"the snapshot is of another {what}: {theirs}", expected=ours)
