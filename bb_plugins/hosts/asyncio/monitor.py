"""Health and metrics over HTTP, for whoever watches many processes.

| path | what it tells |
|---|---|
| `/healthz` | 200 while the Node runs; 503 when it has stopped, such as at a full disk |
| `/readyz` | 200 when moreover every peer that is to be connected is |
| `/status` | what `bb node status --json` prints |
| `/metrics` | the same as numbers, in the text format of Prometheus; needs the extra `[metrics]` |

It answers GET, one request to a connection, with no secrets in it and nothing that changes the Node. It has no
protection of its own: let it listen where only your monitoring reaches it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

import msgspec

from bb_core.errors import MissingExtra, UsageError
from bb_plugins.hosts.asyncio.status import Status

_log = logging.getLogger(__name__)

_HEAD: Final = 8 * 1024
_SECONDS: Final = 5.0
_ASKERS: Final = 32
_JSON: Final = "application/json"

Reply = tuple[int, str, bytes]
"""Status, content type, body."""


class Monitor:
    """The HTTP endpoints, while a Node runs. Use it as `async with`.

    Args:
        listen: `host:port`; port 0 is any free one.
        status: Tells how the Node is.

    Raises:
        UsageError: it cannot be listened there.
    """

    def __init__(self, listen: str, status: Callable[[], Status]) -> None:
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal():
            raise UsageError(f"[metrics] listen is {listen!r}", expected="host:port, such as 127.0.0.1:9464")
        self._host, self._port = host.strip("[]"), int(port)
        self._status = status
        self._open = 0
        self._metrics = _exposition(status)
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._accept, self._host, self._port, limit=_HEAD)
        except OSError as error:
            raise UsageError(
                f"health and metrics cannot be told at {self._host}:{self._port}: {error.strerror}",
                expected="an address of this machine, and a port that is free",
            ) from error
        self._port = self._server.sockets[0].getsockname()[1]
        _log.info("health and metrics at http://%s:%d", self._host, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def port(self) -> int:
        """The real port."""
        return self._port

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _ASKERS:
                with suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                    async with asyncio.timeout(_SECONDS):
                        head = await reader.readuntil(b"\r\n\r\n")
                        writer.write(_message(self._reply(head)))
                        await writer.drain()
        finally:
            self._open -= 1
            writer.close()

    def _reply(self, head: bytes) -> Reply:
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        if method != "GET":
            return _plain(405, "only GET")
        match rest.partition(" ")[0].partition("?")[0]:
            case "/healthz":
                failure = self._status().failure
                return _plain(503, failure) if failure else _plain(200, "ok")
            case "/readyz":
                return _plain(200, "ok") if self._status().ready else _plain(503, "not all peers are connected")
            case "/status":
                return 200, _JSON, msgspec.json.encode(self._status())
            case "/metrics":
                return self._metrics()
            case path:
                return _plain(404, f"there is no {path}: /healthz, /readyz, /status, /metrics")


def _plain(code: int, text: str) -> Reply:
    return code, "text/plain; charset=utf-8", text.encode() + b"\n"


_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 501: "Not Implemented", 503: "Unavailable"}


def _message(reply: Reply) -> bytes:
    code, kind, body = reply
    head = f"HTTP/1.1 {code} {_REASONS[code]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode("ascii") + b"Connection: close\r\n\r\n" + body


def _exposition(status: Callable[[], Status]) -> Callable[[], Reply]:
    """Return what writes `/metrics`; without prometheus-client, what says so."""
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    except ImportError:
        missing = MissingExtra("metrics need prometheus-client", hint='pip install "bytesandbrains[metrics]"')
        _log.warning("%s", missing)
        return lambda: _plain(501, str(missing))
    from bb_plugins.telemetry.prometheus import NodeCollector

    registry = CollectorRegistry()
    registry.register(NodeCollector(status))
    return lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry))
