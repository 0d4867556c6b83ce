"""`bytesandbrains`: building blocks of federated and peer-to-peer learning.

Write a `Module`, bind Concretes to its slots with a `Compiler`, bring up Nodes with `install`; or let `run` do all
three in one process. What needs `onnx` is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bb_core import errors, roles, types
from bb_core.dsl import (
    AggregatorSlot,
    BackendSlot,
    CodecSlot,
    DataSourceSlot,
    Graph,
    IndexSlot,
    ModelSlot,
    Module,
    Output,
    PeerSelectorSlot,
    ProtocolSlot,
    slot_of,
)
from bb_core.hooks import hookimpl
from bb_core.ids import PeerId
from bb_core.registry import Use, concrete, depends, use
from bb_core.roles import Context, Later, State
from bb_core.types import bf16, bool_, f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64
from bb_core.values import TRIGGER, PeerList, Record, Tensor, Trigger
from bb_core.version import __version__

if TYPE_CHECKING:
    from bb_core.compiler import Compiler
    from bb_core.dsl import syscalls
    from bb_core.dsl.syscalls import opset
    from bb_core.engine.observing import Observer, OpRun
    from bb_core.node import Node, NodeConfig, PollResult, install, read_site
    from bb_core.simulation import Round, RunResult, each, run
    from bb_core.wire.address import Address
    from bb_core.wire.limits import WireLimits

_LAZY = {
    "WireLimits": "bb_core.wire.limits",
    "Address": "bb_core.wire.address",
    "Compiler": "bb_core.compiler",
    "Node": "bb_core.node",
    "NodeConfig": "bb_core.node",
    "Observer": "bb_core.engine.observing",
    "OpRun": "bb_core.engine.observing",
    "PollResult": "bb_core.node",
    "Round": "bb_core.simulation",
    "RunResult": "bb_core.simulation",
    "install": "bb_core.node",
    "read_site": "bb_core.node",
    "each": "bb_core.simulation",
    "run": "bb_core.simulation",
    "steps": "bb_core.steps",
    "opset": "bb_core.dsl.syscalls",
    "syscalls": "bb_core.dsl.syscalls",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'bb_core' has no attribute {name!r}")
    loaded = import_module(module)
    value = loaded if module.endswith(f".{name}") else getattr(loaded, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "TRIGGER",
    "Address",
    "AggregatorSlot",
    "BackendSlot",
    "CodecSlot",
    "Compiler",
    "Context",
    "DataSourceSlot",
    "Graph",
    "IndexSlot",
    "Later",
    "ModelSlot",
    "Module",
    "Node",
    "NodeConfig",
    "Observer",
    "OpRun",
    "Output",
    "PeerId",
    "PeerList",
    "PeerSelectorSlot",
    "PollResult",
    "ProtocolSlot",
    "Record",
    "Round",
    "RunResult",
    "State",
    "Tensor",
    "Trigger",
    "Use",
    "WireLimits",
    "__version__",
    "bf16",
    "bool_",
    "concrete",
    "depends",
    "each",
    "errors",
    "f16",
    "f32",
    "f64",
    "hookimpl",
    "i8",
    "i16",
    "i32",
    "i64",
    "install",
    "opset",
    "read_site",
    "roles",
    "run",
    "slot_of",
    "syscalls",
    "types",
    "u8",
    "u16",
    "u32",
    "u64",
    "use",
]
