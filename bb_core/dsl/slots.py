"""Slots: named holes in a Module, which a Concrete of one Role fills.

A slot is a class attribute (`model = bb.ModelSlot()`). Its methods are the Role's ops, made from the Role's OpSpecs:
`self.model.load_parameters(g, params)`. The slot's path is where it stands (`student.model`), never an object's
identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from bb_core import keys
from bb_core import roles as r
from bb_core.dsl.names import check_name, snake
from bb_core.dsl.output import Output
from bb_core.dsl.source import caller_line
from bb_core.errors import MisplacedSlot, MissingInput, TypeMismatch, UnknownPort, UnknownRecorder, did_you_mean
from bb_core.ops.spec import OpSpec
from bb_core.ops.table import declare_role
from bb_core.registry import Use, use
from bb_core.roles.contract import Role, specs_of

if TYPE_CHECKING:
    from bb_core.dsl.graph import After, Graph
    from bb_core.dsl.module import Module


class Slot:
    """A hole for a Concrete of one Role.

    Args:
        default: A Concrete (class, stable name or `bb.use(...)`) that fills the slot unless a binding overrides it.
        config: Configuration of the default.
    """

    role: ClassVar[type[Role]]

    def __init__(self, default: type[Role] | str | Use | None = None, config: Any = None) -> None:
        self.default = default if isinstance(default, Use) or default is None else use(default)
        if config is not None and self.default is not None:
            self.default = Use(self.default.concrete, config)
        self.name = ""
        self.contract: type[Role] = self.role

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, module: Module | None, owner: type) -> Any:
        return self if module is None else self.bind(module)

    def bind(self, module: Module) -> BoundSlot:
        """Return this slot as seen from one Module."""
        return BoundSlot(self, module)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        kind = type(self).__name__
        raise MisplacedSlot(
            f"a {kind} that is no class attribute was asked for {name!r}",
            where=caller_line(),
            expected=f"`name = bb.{kind}(...)` in the body of the Module's class, not in __init__ or a method",
        )

    def extra(self, spec: OpSpec) -> dict[str, Any]:
        """Attributes that the slot itself gives to its ops."""
        return {}


class BoundSlot:
    """A slot of one Module instance; its methods record the Role's ops."""

    def __init__(self, slot: Slot, module: Module) -> None:
        self.slot = slot
        self.module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        specs = specs_of(self.slot.contract)
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in specs:
            raise UnknownRecorder(
                f"a {self.slot.role.role} slot has no op {name!r}", where=caller_line(), hint=did_you_mean(name, specs)
            )
        return self._recorder(name, specs[name])

    def __dir__(self) -> list[str]:
        return list(specs_of(self.slot.contract))

    def path(self, g: Graph) -> str:
        """Return the slot's path as `g` sees it, and register the slot with the recording."""
        path = self.module.path_in(g, self.slot.name)
        g.recording.slots[path] = self.slot.role.role
        if self.slot.default is not None:
            g.recording.slot_defaults[path] = self.slot.default
        peer_class = getattr(self.slot, "peer_class", None)
        if peer_class is not None:
            g.recording.slot_classes[path] = peer_class
        return path

    def _recorder(self, method: str, spec: OpSpec) -> Callable[..., Any]:
        def record(g: Graph, *args: Any, after: After = None, **named: Any) -> Any:
            path = self.path(g)
            given = {**self.slot.extra(spec), **_by_name(spec, args, named)}
            for port in spec.slots:
                given[port.name] = _slot_argument(g, spec, port.name, port.role, given.get(port.name))
            metadata = {keys.SLOT: path}
            if path in g.recording.slot_classes:
                metadata[keys.POINTS_TO] = g.recording.slot_classes[path]
            outs = g.record(spec, given, metadata=metadata, after=after, label=self.slot.name)
            return outs[0] if len(outs) == 1 else outs

        record.__name__ = method
        record.__doc__ = f"{spec.signature()}\n\n{spec.doc}"
        return record


def _by_name(spec: OpSpec, args: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
    # The contract's positional order: inputs and slots as the method declares them.
    order = [s.name for s in spec.slots] + [p.name for p in spec.inputs]
    if len(args) > len(order):
        raise UnknownPort(
            f"{spec.name} takes {len(order)} inputs, {len(args)} were given",
            where=caller_line(),
            expected=spec.signature(),
        )
    given = dict(zip(order, args, strict=False))
    for name, value in named.items():
        if name in given:
            raise UnknownPort(f"{spec.name} was given {name!r} twice", where=caller_line())
        given[name] = value
    return given


def _slot_argument(g: Graph, spec: OpSpec, name: str, role: str, value: Any) -> str:
    if isinstance(value, BoundSlot) and value.slot.role.role == role:
        return value.path(g)
    raise (MissingInput if value is None else TypeMismatch)(
        f"{spec.name} needs a {role} slot as {name!r}", where=caller_line(), expected=f"self.<slot>, a {role} slot"
    )


@cache
def slot_of(role: type[Role]) -> type[Slot]:
    """Return the class of slots of a Role that a plugin adds: `pace = bb.slot_of(Scheduler)()`.

    Raises:
        InvalidConcrete, DuplicateRegistration: the class is no such Role, or its name is taken.
    """
    declare_role(role)
    return type(f"{role.__name__}Slot", (Slot,), {"role": role, "__doc__": f"A hole for a {role.__name__}."})


class ModelSlot(Slot):
    """A hole for a Model."""

    role = r.Model


class IndexSlot(Slot):
    """A hole for an Index."""

    role = r.Index


class AggregatorSlot(Slot):
    """A hole for an Aggregator."""

    role = r.Aggregator


class CodecSlot(Slot):
    """A hole for a Codec."""

    role = r.Codec


class DataSourceSlot(Slot):
    """A hole for a DataSource."""

    role = r.DataSource


class ProtocolSlot(Slot):
    """A hole for a Protocol.

    Args:
        protocol: The class that declares the protocol; its ops are the slot's methods.
    """

    role = r.Protocol

    def __init__(
        self, protocol: type[r.Protocol], default: type[Role] | str | Use | None = None, config: Any = None
    ) -> None:
        super().__init__(default, config)
        if not protocol.protocol:
            raise TypeMismatch(
                f"{protocol.__name__} declares no protocol",
                where=caller_line(),
                expected="a subclass of bb.roles.Protocol with a `protocol` name and ops",
            )
        self.contract = protocol


class PeerSelectorSlot(Slot):
    """A hole for a PeerSelector.

    Args:
        peer_class: Name of the class of peers that it selects; what is sent to them runs on that class. The Module's
            own class, to talk among equals, is the empty one.
    """

    role = r.PeerSelector

    def __init__(self, peer_class: str = "", default: type[Role] | str | Use | None = None, config: Any = None) -> None:
        super().__init__(default, config)
        if peer_class:
            check_name("class of peers", peer_class)
        self.peer_class = peer_class

    def extra(self, spec: OpSpec) -> dict[str, Any]:
        """Tell each op which class is meant."""
        return {"peer_class": self.peer_class}


class BackendSlot(Slot):
    """A hole for a Backend; its methods are the ops of ONNX in snake case: `self.backend.matmul(g, a, b)`."""

    role = r.Backend

    def bind(self, module: Module) -> BoundBackendSlot:
        """Return this slot as seen from one Module."""
        return BoundBackendSlot(self, module)


class BoundBackendSlot(BoundSlot):
    """A Backend slot of one Module instance; it records any standard ONNX op, by the schema that `onnx` has of it."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        from bb_core.ir.schemas import onnx_op_named, onnx_ops

        schema = onnx_op_named(name)
        if schema is None:
            raise UnknownRecorder(
                f"ONNX has no op {name!r} that a Backend slot could record",
                where=caller_line(),
                hint=did_you_mean(name, map(snake, onnx_ops())),
            )

        def record(g: Graph, *inputs: Any, n_outputs: int = 1, after: After = None, **attributes: Any) -> Any:
            outs = self._record(g, schema.name, inputs, attributes, n_outputs, after)
            return outs[0] if len(outs) == 1 else outs

        record.__name__ = name
        record.__doc__ = schema.doc
        return record

    def operator(self, g: Graph, op_type: str, operands: Sequence[Any], **attributes: Any) -> Output:
        """Record an operator such as `a + b`."""
        return self._record(g, op_type, operands, attributes, 1, None)[0]

    def _record(
        self,
        g: Graph,
        op_type: str,
        inputs: Sequence[Any],
        attributes: dict[str, Any],
        n_outputs: int,
        after: After,
    ) -> tuple[Output, ...]:
        from bb_core.ir.schemas import check_onnx_call

        check_onnx_call(op_type, len(inputs), attributes, caller_line())
        return g.record_onnx(
            op_type,
            inputs,
            attributes,
            n_outputs=n_outputs,
            metadata={keys.SLOT: self.path(g)},
            after=after,
            label=f"{self.slot.name}.{op_type}",
        )
