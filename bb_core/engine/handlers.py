"""Binds each op of a function to what it calls on one Node. Whatever cannot be bound fails the install."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from bb_core import keys
from bb_core.engine.dispatch import Handler
from bb_core.engine.program import FunctionProgram, OpInfo
from bb_core.engine.sending import bind_send
from bb_core.errors import InstallError
from bb_core.ops.spec import Attribute
from bb_core.steps import AppEvent

if TYPE_CHECKING:
    from bb_core.engine.context import OpContext
    from bb_core.engine.engine import Engine


def bind_function(engine: Engine, function: FunctionProgram) -> list[Handler]:
    """Return the handlers of a function's ops, in order."""
    return [_bind(engine, function, info) for info in function.ops]


def _bind(engine: Engine, function: FunctionProgram, info: OpInfo) -> Handler:
    binder = _FRAMEWORK.get((info.domain, info.op_type))
    if binder is not None:
        return binder(engine, function, info)
    component = engine.components.get(info.slot)
    if component is None:
        raise InstallError(f"{info.op_type} has no Concrete in slot {info.slot!r}", where=info.source)
    if info.domain == keys.ONNX:
        return _handler(info, component.kernel(info.op_type, info.attributes), takes_context=False)
    return _bind_role(engine, component, info)


def _bind_role(engine: Engine, component: Any, info: OpInfo) -> Handler:
    spec = info.spec
    if spec is None or not hasattr(component, spec.method):
        raise InstallError(
            f"nothing on this Node can run {info.op_type} of domain {info.domain!r}",
            where=info.source,
            hint="install the plugin that declares it",
        )
    leading = tuple(engine.components[info.attributes[s.name]] for s in spec.slots)
    keywords = {a.name: _attribute(a, info.attributes) for a in spec.attributes}
    return _handler(info, getattr(component, spec.method), leading=leading, keywords=keywords)


def _attribute(attribute: Attribute, given: dict[str, Any]) -> Any:
    value = given.get(attribute.name, attribute.default)
    return bool(value) if attribute.kind == "bool" else value


def _handler(
    info: OpInfo,
    call: Callable[..., Any] | None,
    *,
    takes_context: bool = True,
    leading: tuple[Any, ...] = (),
    keywords: dict[str, Any] | None = None,
) -> Handler:
    optional = tuple(p.optional for p in info.spec.outputs) if info.spec else ()
    padded = optional + (False,) * (len(info.output_classes) - len(optional))
    return Handler(call, takes_context, leading, keywords or {}, info.output_classes, padded, info.exclusive, info)


def _bind_gate(engine: Engine, function: FunctionProgram, info: OpInfo) -> Handler:
    return _handler(info, None)


def _bind_output(engine: Engine, function: FunctionProgram, info: OpInfo) -> Handler:
    port, target = info.output_ports[0], function.name

    def emit(ctx: OpContext, value: Any) -> Any:
        engine.steps.append(AppEvent(target, port, value, ctx.exec_id))
        return value

    return _handler(info, emit)


def _bind_send_op(engine: Engine, function: FunctionProgram, info: OpInfo) -> Handler:
    return _handler(info, bind_send(engine, info))


def _bind_recv(engine: Engine, function: FunctionProgram, info: OpInfo) -> Handler:
    return _handler(info, None)  # never ready: it waits for nothing and no entry starts it


_FRAMEWORK: Final[dict[tuple[str, str], Callable[[Engine, FunctionProgram, OpInfo], Handler]]] = {
    (keys.SYSCALL, "Gate"): _bind_gate,
    (keys.SYSCALL, "Output"): _bind_output,
    (keys.WIRE, "Send"): _bind_send_op,
    (keys.WIRE, "Recv"): _bind_recv,
}
