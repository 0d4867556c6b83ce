"""`node.toml`: all that a process needs to know to run one Node.

    artefact = "averaging.onnx"
    targets = ["FederatedAveraging@client"]
    listen = ["/ip4/0.0.0.0/tcp/4001/tls"]
    state = "state"
    modules = ["hospital.py"]

    [identity]
    certificate = "certs/ward-1.crt"
    key = "certs/ward-1.key"
    authority = "certs/authority.crt"

    [[peers]]
    id = "12D3KooW..."
    addresses = ["/dns/coordinator.example.org/tcp/4001/tls"]
    connect = true

    [slots.data]
    concrete = "hospital.Records"
    config = { path = "records.npz" }

Paths are relative to the file. The classes below say what a table may hold; `[slots]` is that of `bb.read_site`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

import bb_core as bb
from bb_core.errors import ConfigError, LoadError
from bb_plugins.transports.interface import Credentials


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who the Node is: files for TLS, or a peer id for plain TCP."""

    certificate: str = ""
    key: str = ""
    authority: str = ""
    peer: str = ""
    """Without the files: a peer id that nobody proves. For tests and closed networks."""


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A peer that the Node knows from its start."""

    id: str
    addresses: list[str] = []
    peer_class: str = msgspec.field(name="class", default="")
    connect: bool = False
    """Connect at the start and stay connected."""


class Rounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the process invokes by itself; without it, it answers peers until it is stopped."""

    target: str
    count: int = 1
    peers: int = 0
    """How many peers must be connected before a round begins."""
    at_first: int = 0
    """How many must be connected before this process begins its first round, when that is more."""
    attempts: int = 3
    """How often a round that gives nothing, such as one that misses its quorum, is begun before the process ends."""
    input: str = ""
    """Name of the Trigger that begins a round; may be left out when the target has one input."""
    then: Literal["stop", "stay"] = "stop"
    """What comes after the last round: the end of the process, or answering peers until it is stopped."""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is logged to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where health and metrics are told over HTTP; without `listen`, nowhere."""

    listen: str = ""
    """Host and port, such as `127.0.0.1:9464`. Whoever reaches it can read it: keep it off open networks."""


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Python file whose `bindings` configure the slots, as `bb run` and `bb simulate` read them."""

    file: str
    """Such as `app.py:program`."""
    number: int = 0
    """Which peer of its class this is, from 0: what `bb.each` configures by."""
    of: int = 1
    """How many peers its class has."""
    bind: list[str] = []
    set: list[str] = []
    """As the options `--bind` and `--set`."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times and sizes of the host."""

    workers: int = 0
    snapshot_seconds: float = 60.0
    drain_seconds: float = 10.0
    loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    """The event loop; auto is uvloop where it is installed."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file."""

    artefact: str
    targets: list[str]
    identity: Identity
    listen: list[str] = []
    announce: list[str] = []
    """Where peers can reach the Node, when that differs from `listen`."""
    state: str = ""
    modules: list[str] = []
    """Python files or modules that declare Concrete classes of the site's own."""
    seed: int = 0
    protocols: list[str] | None = None
    """Which transports may be used, such as `["tcp/tls", "quic-v1"]`; see `AsyncioHost`."""
    peers: list[Peer] = []
    rounds: Rounds | None = None
    log: Log = Log()
    metrics: Metrics = Metrics()
    program: Program | None = None
    host: Limits = Limits()
    slots: dict[str, Any] = {}
    folder: str = ""
    """What paths are relative to; by default where the file is."""

    @property
    def state_path(self) -> Path | None:
        """The state directory; None without."""
        return self.path(self.state) if self.state else None

    def path(self, name: str) -> Path:
        """Return a path of the file."""
        return Path(self.folder) / name

    @property
    def credentials(self) -> Credentials | None:
        """The files for TLS; None without."""
        own = self.identity
        given = (own.certificate, own.key, own.authority)
        if not any(given):
            return None
        if not all(given) or own.peer:
            raise ConfigError(
                "[identity] is not whole",
                expected="certificate, key and authority for TLS; or peer alone, for plain TCP",
            )
        return Credentials(*(self.path(name) for name in given))

    @property
    def peer_id(self) -> bb.PeerId:
        """Who the Node is."""
        credentials = self.credentials
        if credentials is not None:
            from bb_plugins.transports.tls import own_peer

            return own_peer(credentials)
        if not self.identity.peer:
            raise ConfigError("[identity] says nothing", hint="bb certs issue NAME, then name its three files")
        return bb.PeerId.parse(self.identity.peer)


def read_settings(path: Path) -> Settings:
    """Read a file.

    Raises:
        LoadError: it cannot be read.
        ConfigError: it is not TOML, or holds what is not known or is of another type.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror}", expected="a file such as node.toml") from error
    try:
        found = msgspec.toml.decode(text, type=Settings)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{path}: {error}", where=str(path), hint="docs/guide/deploying.md shows a whole file"
        ) from error
    return msgspec.structs.replace(found, folder=str(path.resolve().parent / found.folder))
