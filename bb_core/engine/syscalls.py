"""The bodies of the framework's own ops, in one table by op.

A body is made when a function is installed: it is given the engine and the op's attributes, and returns what is called
with `ctx` and the inputs, or names an op that the dispatch loop runs itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from bb_core import keys
from bb_core import types as t
from bb_core.engine.program import FunctionProgram, OpInfo
from bb_core.engine.services import RESERVED
from bb_core.errors import InstallError, RoleError
from bb_core.ids import PeerId
from bb_core.types import BY_ELEM, python_class
from bb_core.values import TRIGGER, Composite
from bb_core.wire.address import Address, AddressList

if TYPE_CHECKING:
    from bb_core.engine.context import OpContext
    from bb_core.engine.engine import Engine


class Native(NamedTuple):
    """An op that the dispatch loop runs itself; the table is at the end of `_dispatch.pyx`."""

    name: str
    leading: tuple[Any, ...] = ()


NEVER: Final = Native("never")
Body = Callable[..., Any] | Native
Make = Callable[["Engine", FunctionProgram, OpInfo], Body]


# --- values as they pass ----------------------------------------------------------------------------------------------


def _output(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    return Native("emit", (function.name, info.output_ports[0]))


def _native(name: str) -> Make:
    """A row of an op that the dispatch loop runs itself."""
    return lambda engine, function, info: Native(name)


def _cast(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    wanted = t.named(info.attributes["to"])
    if wanted is None:
        raise InstallError(
            f"nothing here declares the type {info.attributes['to']!r}",
            where=info.source,
            hint="install the plugin that declares it",
        )
    cls, dtype = python_class(wanted), _DTYPES.get(wanted.elem)
    if wanted.elem and dtype is None:
        raise InstallError(
            f"this Node cannot convert to {wanted}", where=info.source, hint="numpy has no such elements; cast to f32"
        )

    def cast(ctx: OpContext, value: Any) -> Any:
        if dtype is not None and isinstance(value, np.ndarray):
            return value.astype(dtype, copy=False)
        if cls is not None and not isinstance(value, cls):
            raise RoleError(f"{info.title} was given a {type(value).__name__}", expected=f"a {wanted}")
        return value

    return cast


_DTYPES: Final = {
    elem: np.dtype(name)
    for elem, name in (
        (1, "f4"), (2, "u1"), (3, "i1"), (4, "u2"), (5, "i2"), (6, "i4"), (7, "i8"), (9, "?"), (10, "f2"), (11, "f8"),
        (12, "u4"), (13, "u8"),
    )
    if elem in BY_ELEM
}  # fmt: skip


def _stack(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    def stack(ctx: OpContext, values: Composite) -> Any:
        shapes = {v.shape if isinstance(v, np.ndarray) else type(v).__name__ for v in values}
        if len(shapes) != 1 or not isinstance(values[0], np.ndarray):
            listed = ", ".join(sorted(map(str, shapes))) or "nothing"
            raise RoleError(f"{info.title} was given {listed}", expected="tensors of one shape, at least one")
        return np.stack(values)

    return stack


# --- flow -------------------------------------------------------------------------------------------------------------


def _any(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    group, services = info.attributes.get("group", ""), engine.services

    def first(ctx: OpContext, *values: Any) -> Any:
        return values[ctx.first_written()] if services.latch(group) else None

    return first


def _threshold(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    name, n = info.attributes.get("name") or f"{function.name}/{info.name}", info.attributes["n"]
    return lambda ctx, value: TRIGGER if engine.services.tally(name, n) else None


def _acquire(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    name, n = info.attributes.get("name", ""), info.attributes.get("n", 1)
    return lambda ctx, trigger: TRIGGER if engine.services.enter(name, n) else None


def _release(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    name = info.attributes.get("name", "")
    return lambda ctx, trigger: engine.services.leave(name)


def _enqueue(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    queue = info.attributes.get("queue", "")
    return lambda ctx, value: engine.services.enqueue(queue, value)


def _dequeue(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    queue = info.attributes.get("queue", "")
    return lambda ctx, trigger: engine.services.dequeue(queue)


def _stash(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    slot = info.attributes.get("slot", "")
    return lambda ctx, value: engine.services.stash(slot, value)


def _flush(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    slot = info.attributes.get("slot", "")
    return lambda ctx, trigger: engine.services.flush(slot)


def _again(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    target, port = function.name, info.attributes["port"]

    def again(ctx: OpContext, value: Any) -> None:
        engine.again(target, port, value)

    return again


# --- time and chance --------------------------------------------------------------------------------------------------


def _sleep(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    wait = int(info.attributes["delay"] if info.op_type == "After" else info.attributes["duration"])

    def sleep(ctx: OpContext, value: Any) -> Any:
        promised = ctx.later(wait, on_deadline=lambda _: promised.complete(value))
        return promised

    return sleep


def _clock(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    return lambda ctx, *after: np.asarray(engine.now, np.int64)


def _rng(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    key = f"{function.name}/{info.name}"
    return lambda ctx, *after: np.asarray(ctx.generator(key).integers(0, 1 << 64, dtype=np.uint64), np.uint64)


def _token(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    return lambda ctx, *after: np.asarray(engine.services.token(), np.uint64)


# --- what the host sees -----------------------------------------------------------------------------------------------


def _app_emit(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    return Native("tell", (function.name, _topic(info)))


def _app_notify(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    return Native("notify", (function.name, _topic(info)))


def _record(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    name = _topic(info)
    return lambda ctx, value: engine.services.record(name, value)


def _metric(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    name, delta, counters = _topic(info), info.attributes.get("delta", 1), engine.services.counters

    def count(ctx: OpContext, trigger: Any) -> None:
        counters[name] += delta

    return count


def _topic(info: OpInfo) -> str:
    name = str(info.attributes["name"])
    if name.startswith(RESERVED):
        raise InstallError(
            f"{info.op_type} uses the name {name!r}, which is the framework's own",
            where=info.source,
            expected="a name that does not begin with " + " or ".join(RESERVED),
        )
    return name


# --- addresses --------------------------------------------------------------------------------------------------------


def _insert(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    def insert(ctx: OpContext, peer: PeerId, addresses: Address | AddressList) -> None:
        many = addresses if isinstance(addresses, AddressList) else (addresses,)
        if not many:
            raise RoleError(f"{info.title} was given no address of {peer}", expected="at least one")
        engine.address_book.insert(peer, tuple(a.to_bytes() for a in many), engine.now)

    return insert


def _lookup(engine: Engine, function: FunctionProgram, info: OpInfo) -> Body:
    def lookup(ctx: OpContext, peer: PeerId) -> AddressList:
        found = engine.address_book.addresses(peer, engine.now)
        if not found:
            raise RoleError(f"no address of {peer} is known")
        return AddressList(Address.from_bytes(a) for a in found)

    return lookup


BODIES: Final[dict[tuple[str, str], Make]] = {
    **{
        (keys.SYSCALL, name): make
        for name, make in (
            ("Output", _output),
            ("Gate", _native("pass")),
            ("PassThrough", _native("pass")),
            ("Tee", _native("tee")),
            ("Cast", _cast),
            ("Pulse", _native("pulse")),
            ("OnTrigger", _native("pulse")),
            ("All", _native("pulse")),
            ("Any", _any),
            ("DeadlineMatch", _native("race")),
            ("Threshold", _threshold),
            ("Limit.Acquire", _acquire),
            ("Limit.Release", _release),
            ("Serialize.Enqueue", _enqueue),
            ("Serialize.Dequeue", _dequeue),
            ("Hold.Stash", _stash),
            ("Hold.Flush", _flush),
            ("Again", _again),
            ("OnFailure", _native("never")),  # never ready: the engine writes its output
            ("LifecyclePhase", _native("never")),  # never ready: its entry writes its output
            ("EventSource", _native("never")),
            ("Interval", _native("never")),
            ("After", _sleep),
            ("Sleep", _sleep),
            ("Clock", _clock),
            ("RngU64", _rng),
            ("CorrelateTag", _token),
            ("AppEmit", _app_emit),
            ("AppNotify", _app_notify),
            ("Record", _record),
            ("IncrMetric", _metric),
        )
    },
    (keys.COMPOSITE, "Bundle"): _native("bundle"),
    (keys.COMPOSITE, "Unbundle"): _native("unbundle"),
    (keys.COMPOSITE, "Stack"): _stack,
    (keys.ADDRESS_BOOK, "Insert"): _insert,
    (keys.ADDRESS_BOOK, "InsertMany"): _insert,
    (keys.ADDRESS_BOOK, "Lookup"): _lookup,
}
