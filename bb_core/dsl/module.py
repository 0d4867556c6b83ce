"""`Module`, what an author writes: slots as class attributes, and a body that records ops."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bb_core import keys
from bb_core import types as t
from bb_core.dsl.graph import Graph
from bb_core.dsl.names import check_name
from bb_core.dsl.output import Output, Outputs
from bb_core.dsl.slots import BackendSlot, BoundBackendSlot, Slot
from bb_core.dsl.source import caller_line
from bb_core.errors import (
    AuthoringError,
    EmptyModule,
    MissingInput,
    RecursiveModule,
    TypeMismatch,
    UncalledBootstrap,
    UnknownPort,
    did_you_mean,
)
from bb_core.ir.naming import bootstrap_name
from bb_core.ir.recorded import RecordedFunction, Recording

if TYPE_CHECKING:
    import onnx

_BEGIN = "begin"
"""Input of a sub-module that has neither inputs nor outputs: ONNX cannot call such a one, so its call gives a trigger
that the compiler drops again."""


class Module:
    """Base of all Modules: override `body`, and `bootstrap` if something must run once before.

    A Module may hold others as attributes (`self.student = Student()`), in a list or in a dict, and call them with
    inputs by keyword: `out = self.student(g, query=q)`, then `out.grad`. Two instances have slots and bodies of their
    own; one that is called twice has one body and two calls.

    Example:
        class Double(bb.Module):
            backend = bb.BackendSlot()

            def body(self, g):
                x = g.input("x", bb.f32["N"])
                g.output("y", x + x)
    """

    @property
    def name(self) -> str:
        """Name of the program; the class's name unless overridden."""
        return type(self).__name__

    def body(self, g: Graph) -> None:
        """Record the computation."""
        raise AuthoringError(
            f"{type(self).__name__} has no body",
            hint=f"write in class {type(self).__name__}: def body(self, g: bb.Graph) -> None: ...",
        )

    def bootstrap(self, g: Graph) -> None:
        """Record what runs once, before the body may: filling an Index, greeting a coordinator, loading data.

        It has the slots of the body. Its inputs are given by `node.bootstrap`; without any it begins by itself. Inside
        it, calling a sub-module records that one's bootstrap. A Module that does not override it runs those of its
        sub-modules, in the order in which the body first calls them.
        """

    @staticmethod
    def from_proto(model: onnx.ModelProto | bytes) -> Module:
        """Make a Module of what another's `build` returned, to compile it or to call it inside a body.

        Raises:
            AuthoringError: the model was not built by `Module.build`, or is compiled.
        """
        from bb_core.dsl.composed import ComposedModule

        return ComposedModule(model)

    def build(self) -> onnx.ModelProto:
        """Record the program and return it as an ONNX model that passes `onnx.checker.check_model`.

        Raises:
            EmptyModule: the body recorded nothing.
            AuthoringError: anything else that is wrong, with your file and line.
        """
        from bb_core.ir.encode import encode_recording

        check_name("Module", self.name)
        recording = Recording()
        if not self.record_body(recording, ()).nodes:
            raise EmptyModule(f"{self.name}.body recorded no op", hint="record one and g.output(name, value)")
        self.record_bootstrap(recording, ())
        return encode_recording(recording)

    def __call__(self, g: Graph, **inputs: Any) -> Outputs:
        """Call this Module inside another one's body (its inputs by name), or its bootstrap inside a bootstrap."""
        path = self.path_in(g, "")
        scope = tuple(path.split("."))
        function = self._called(g, path, scope)
        if function is None:
            return Outputs(path, {})
        actual = self._actual(g, path, function, inputs)
        if not function.inputs and not function.outputs:
            function.inputs[_BEGIN] = function.types[_BEGIN] = t.TRIGGER
        if list(function.inputs) == [_BEGIN] and not function.outputs and not actual:
            actual = [_begin(g)]
        return Outputs(path, g.call(function.name, actual, function.outputs, path))

    # --- for the recorder ---------------------------------------------------------------------------------------------

    def path_in(self, g: Graph, name: str) -> str:
        """Return the path of this Module's attribute `name` (or of itself) in a Graph that is being recorded."""
        if self is g.module and name:
            return g.path(name)
        own = _attribute_name(g.module, self)
        if own is None:
            raise AuthoringError(
                f"{type(self).__name__} is not part of {type(g.module).__name__}",
                where=caller_line(),
                hint=f"keep it as an attribute: `self.child = {type(self).__name__}()`, then call self.child(g, ...)",
            )
        return g.path(f"{own}.{name}" if name else own)

    def default_backend(self, g: Graph) -> BoundBackendSlot:
        """Return the only Backend slot, on which operators are recorded."""
        names = [n for c in type(self).__mro__ for n, v in vars(c).items() if isinstance(v, BackendSlot)]
        if len(names) != 1:
            raise AuthoringError(
                f"{type(self).__name__} has {len(names)} Backend slots, so an operator has no home",
                where=caller_line(),
                expected="exactly one `bb.BackendSlot()`",
                hint="call the slot's method instead: self.backend.add(g, a, b)",
            )
        bound: BoundBackendSlot = getattr(self, names[0])
        return bound

    def record_body(self, recording: Recording, scope: tuple[str, ...]) -> RecordedFunction:
        """Record the body as a function of its own."""
        function = _new_function(recording, self, scope)
        recording.open.append(self)
        self.body(Graph(self, scope, recording, function))
        recording.open.pop()
        return function

    def record_bootstrap(self, recording: Recording, scope: tuple[str, ...]) -> RecordedFunction | None:
        """Record the bootstrap as a function of its own; None if there is nothing to run."""
        name = bootstrap_name(_function_name(recording, self, scope))
        function = recording.find(name)
        if function is not None:
            return function
        function = RecordedFunction(name)
        children = recording.children.get(scope, {})
        if type(self).bootstrap is Module.bootstrap and not children:
            return None
        recording.functions.append(function)
        recording.open.append(self)
        g = Graph(self, scope, recording, function)
        if type(self).bootstrap is Module.bootstrap:
            for child in children.values():
                child(g)
        else:
            self.bootstrap(g)
            _warn_uncalled(self, recording, scope, function)
        recording.open.pop()
        if not function.nodes:
            recording.functions.remove(function)
            return None
        return function

    # --- inside -------------------------------------------------------------------------------------------------------

    def _called(self, g: Graph, path: str, scope: tuple[str, ...]) -> RecordedFunction | None:
        name = _function_name(g.recording, self, scope)
        function = g.recording.find(bootstrap_name(name) if g.is_bootstrap else name)
        if any(m is self for m in g.recording.open):
            raise RecursiveModule(
                f"{path} calls itself", where=caller_line(), hint="let g.again begin a new Frame, or use a Loop"
            )
        if g.is_bootstrap:
            return self.record_bootstrap(g.recording, scope)
        g.recording.children.setdefault(g.scope, {})[scope[-1]] = self
        return function or self.record_body(g.recording, scope)

    def _actual(self, g: Graph, path: str, function: RecordedFunction, inputs: dict[str, Any]) -> list[str]:
        wanted = [n for n in function.inputs if n != _BEGIN or n in inputs]
        for name in inputs:
            if name not in function.inputs:
                raise UnknownPort(f"{path} has no input {name!r}", where=caller_line(), hint=did_you_mean(name, wanted))
        actual = []
        for name in wanted:
            if name not in inputs:
                raise MissingInput(
                    f"the call of {path} lacks the input {name!r}", where=caller_line(), expected=", ".join(wanted)
                )
            type_ = function.inputs[name]
            value = g.check(inputs[name], like=type_)
            if not type_.accepts(value.type):
                raise TypeMismatch(
                    f"the call of {path} gives {value.port!r} of type {value.type} as {name!r}",
                    where=caller_line(),
                    expected=f"{name}: {type_}",
                )
            actual.append(value.name)
        return actual


def _new_function(recording: Recording, module: Module, scope: tuple[str, ...]) -> RecordedFunction:
    function = RecordedFunction(_function_name(recording, module, scope))
    recording.functions.append(function)
    return function


def _function_name(recording: Recording, module: Module, scope: tuple[str, ...]) -> str:
    root = recording.functions[0].name if recording.functions else module.name
    return ".".join([root, *scope])


def _begin(g: Graph) -> str:
    node = g.node_name("Begin")
    out = g.new_value(node, _BEGIN, t.TRIGGER, _BEGIN)
    g.push(keys.SYSCALL, "Pulse", [], [out.name], node, metadata={keys.CALL_ONLY: "1"})
    return out.name


def _warn_uncalled(module: Module, recording: Recording, scope: tuple[str, ...], function: RecordedFunction) -> None:
    called = {n.op_type for n in function.nodes if n.domain == keys.MODULE}
    for name, child in recording.children.get(scope, {}).items():
        path = (*scope, name)
        if bootstrap_name(_function_name(recording, module, path)) in called:
            continue
        probe = Recording([*recording.functions], {}, {}, {}, recording.children)
        if child.record_bootstrap(probe, path) is not None:
            warnings.warn(
                UncalledBootstrap(
                    f"{type(module).__name__}.bootstrap does not call self.{name}, which has a bootstrap",
                    hint=f"call it there: self.{name}(g)",
                ),
                stacklevel=2,
            )


def _attribute_name(parent: Module, child: Module) -> str | None:
    for name, value in [*vars(parent).items(), *vars(type(parent)).items()]:
        if value is child:
            return name
        items = (
            enumerate(value) if isinstance(value, list | tuple) else value.items() if isinstance(value, dict) else ()
        )
        for key, item in items:
            if item is child:
                return f"{name}_{key}"
    return None


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, list | tuple):
        return enumerate(value)
    return value.items() if isinstance(value, dict) else ()


__all__ = ["Graph", "Module", "Output", "Slot"]
