"""Registers the first-party transports and `bb certs`."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_transports(transports: Any) -> None:
    """Add TCP, TLS over TCP, WebSocket over both, QUIC, and memory."""
    transports.add("bytesandbrains.tcp", "bb_plugins.transports.tcp:TcpTransport", protocols=("tcp",))
    transports.add("bytesandbrains.tls", "bb_plugins.transports.tls:TlsTransport", protocols=("tcp", "tls"))
    transports.add(
        "bytesandbrains.websocket", "bb_plugins.transports.websocket:WebSocketTransport", protocols=("tcp", "ws")
    )
    transports.add(
        "bytesandbrains.websocket_tls",
        "bb_plugins.transports.websocket:SecureWebSocketTransport",
        protocols=("tcp", "tls", "ws"),
    )
    transports.add("bytesandbrains.quic", "bb_plugins.transports.quic:QuicTransport", protocols=("udp", "quic-v1"))
    transports.add("bytesandbrains.memory", "bb_plugins.transports.memory:MemoryTransport", protocols=("memory",))


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb certs init` and `bb certs issue`."""
    app.later("certs", "bb_plugins.transports.commands:certs")
