"""Binds each op of a function to what it calls on one Node. Whatever cannot be bound fails the install."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from bb_core import keys
from bb_core.engine.deliveries import bind_delivered
from bb_core.engine.dispatch import Handler
from bb_core.engine.gathering import bind_collect, bind_contribute
from bb_core.engine.program import FunctionProgram, OpInfo
from bb_core.engine.sending import bind_send
from bb_core.engine.syscalls import BODIES, NEVER, Native
from bb_core.errors import InstallError
from bb_core.ir.schemas import OPSET
from bb_core.ops.spec import Attribute
from bb_core.roles.contract import implements

if TYPE_CHECKING:
    from bb_core.engine.engine import Engine


def bind_function(engine: Engine, function: FunctionProgram) -> list[Handler]:
    """Return the handlers of a function's ops, in order."""
    return [_bind(engine, function, info) for info in function.ops]


def _bind(engine: Engine, function: FunctionProgram, info: OpInfo) -> Handler:
    if info.domain == keys.WIRE:
        return make_handler(info, _WIRE[info.op_type](engine, info))
    make = BODIES.get((info.domain, info.op_type))
    if make is not None:
        body = make(engine, function, info)
        if isinstance(body, Native):
            return make_handler(info, body.name, leading=body.leading)
        return make_handler(info, body)
    if info.spec is not None and info.spec.call:
        return _bind_plugin(info)
    component = engine.components.get(info.slot)
    if component is None and not info.slot:
        raise InstallError(
            f"nothing on this Node can run {info.op_type} of domain {info.domain!r}",
            where=info.source,
            hint="install the plugin that declares it",
        )
    if component is None:
        raise InstallError(f"{info.op_type} has no Concrete in slot {info.slot!r}", where=info.source)
    if (info.domain, info.op_type) == (keys.FRAMEWORK, keys.SUBGRAPH):
        return make_handler(info, _graph(component, info), takes_context=False)
    if info.domain == keys.ONNX:
        return make_handler(info, component.kernel(info.op_type, info.attributes), takes_context=False)
    return _bind_role(engine, component, info)


def _graph(component: Any, info: OpInfo) -> Callable[..., Any]:
    """Bind a Backend's graph; one with one output gives it as it is, as a kernel does."""
    run: Callable[..., tuple[Any, ...]] = component.graph(info.attributes[keys.BODY], OPSET)
    return run if len(info.output_ports) > 1 else lambda *inputs: run(*inputs)[0]


def _bind_role(engine: Engine, component: Any, info: OpInfo) -> Handler:
    spec = info.spec
    if spec is None or not spec.method:
        raise InstallError(
            f"nothing on this Node can run {info.op_type} of domain {info.domain!r}",
            where=info.source,
            hint="install the plugin that declares it",
        )
    if not implements(type(component), spec.method):
        raise InstallError(
            f"{type(component).__name__} in slot {info.slot!r} does not implement {spec.method}",
            where=info.source,
            hint=f"bind another Concrete to {info.slot!r}, or implement the method",
        )
    leading = tuple(engine.components[info.attributes[s.name]] for s in spec.slots)
    keywords = {a.name: _attribute(a, info.attributes) for a in spec.attributes}
    return make_handler(info, getattr(component, spec.method), leading=leading, keywords=keywords)


def _attribute(attribute: Attribute, given: dict[str, Any]) -> Any:
    value = given.get(attribute.name, attribute.default)
    return bool(value) if attribute.kind == "bool" else value


def make_handler(
    info: OpInfo,
    call: Callable[..., Any] | str,
    *,
    takes_context: bool = True,
    leading: tuple[Any, ...] = (),
    keywords: dict[str, Any] | None = None,
) -> Handler:
    """Return the handler of an op that calls something, or that is native."""
    optional = tuple(p.optional for p in info.spec.outputs) if info.spec else ()
    padded = (optional + (False,) * len(info.output_classes))[: len(info.output_classes)]
    touched = frozenset(info.touched)
    return Handler(
        call, takes_context, leading, keywords or {}, info.output_classes, padded, info.exclusive, info, touched
    )


def _bind_plugin(info: OpInfo) -> Handler:
    """Bind an op that a plugin declares, with the function that runs it."""
    spec = info.spec
    assert spec is not None
    module, _, name = spec.call.partition(":")
    try:
        call = getattr(import_module(module), name)
    except Exception as error:  # a plugin's module may raise anything
        raise InstallError(
            f"{info.op_type} of domain {info.domain!r} is run by {spec.call}, which cannot be imported",
            where=info.source,
            hint=f"{type(error).__name__}: {error}",
        ) from error
    return make_handler(info, call, keywords={a.name: _attribute(a, info.attributes) for a in spec.attributes})


def _bind_recv(engine: Engine, info: OpInfo) -> str:
    """A Recv is never ready: it waits for nothing, and its entry writes its outputs."""
    return NEVER.name


_WIRE: Final[dict[str, Callable[[Engine, OpInfo], Callable[..., Any] | str]]] = {
    "Send": bind_send,
    "Recv": _bind_recv,
    "Delivered": bind_delivered,
    "Gather.Contribute": bind_contribute,
    "Gather.Collect": bind_collect,
}
