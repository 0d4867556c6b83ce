"""`Module`, what an author writes: slots as class attributes, and a body that records ops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bb_core.dsl.graph import Graph, check_name
from bb_core.dsl.output import Output, Outputs
from bb_core.dsl.slots import BackendSlot, BoundBackendSlot, Slot
from bb_core.dsl.source import caller_line
from bb_core.errors import (
    AuthoringError,
    EmptyModule,
    MissingInput,
    NotYetAvailable,
    TypeMismatch,
    UnknownPort,
    did_you_mean,
)
from bb_core.ir.recorded import RecordedFunction, Recording

if TYPE_CHECKING:
    import onnx


class Module:
    """Base of all Modules: override `body`.

    A Module may hold others as attributes (`self.student = Student()`), or in a list, and call them with inputs by
    keyword: `out = self.student(g, query=q)`, then `out.grad`.

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
        raise NotImplementedError(f"{type(self).__name__} needs a method body(self, g)")

    def bootstrap(self, g: Graph) -> None:
        """Record what runs once before the body may; not available yet."""

    def build(self) -> onnx.ModelProto:
        """Record the program and return it as an ONNX model that passes `onnx.checker.check_model`.

        Raises:
            EmptyModule: the body recorded nothing.
            AuthoringError: anything else that is wrong, with your file and line.
        """
        from bb_core.ir.encode import encode_recording

        check_name("Module", self.name)
        if type(self).bootstrap is not Module.bootstrap:
            raise NotYetAvailable(
                f"{self.name} overrides bootstrap, which this release does not run",
                hint="do the preparation in the host before the first invoke",
            )
        recording = Recording()
        self._record(recording, ())
        if not recording.functions[0].nodes:
            raise EmptyModule(f"{self.name}.body recorded no op", hint="record one and g.output(name, value)")
        return encode_recording(recording)

    def __call__(self, g: Graph, **inputs: Any) -> Outputs:
        """Call this Module inside another one's body, with its inputs by name."""
        path = self.path_in(g, "")
        function = next((f for f in g.recording.functions if f.name == _function_name(g, path)), None)
        if function is None:
            function = self._record(g.recording, tuple(path.split(".")))
        actual = []
        for name, type_ in function.inputs.items():
            if name not in inputs:
                raise MissingInput(
                    f"the call of {path} lacks the input {name!r}",
                    where=caller_line(),
                    expected=", ".join(function.inputs),
                )
            value = g.check(inputs[name])
            if not type_.accepts(value.type):
                raise TypeMismatch(
                    f"the call of {path} gives {value.port!r} of type {value.type} as {name!r}",
                    where=caller_line(),
                    expected=f"{name}: {type_}",
                )
            actual.append(value.name)
        for name in inputs:
            if name not in function.inputs:
                raise UnknownPort(
                    f"{path} has no input {name!r}", where=caller_line(), hint=did_you_mean(name, function.inputs)
                )
        return Outputs(path, g.call(function.name, actual, function.outputs, path))

    # --- inside -------------------------------------------------------------------------------------------------------

    def path_in(self, g: Graph, name: str) -> str:
        """Return the path of this Module's attribute `name` (or of itself) in a Graph that is being recorded."""
        if self is g.module:
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

    def _record(self, recording: Recording, scope: tuple[str, ...]) -> RecordedFunction:
        root = recording.functions[0].name if recording.functions else self.name
        function = RecordedFunction(".".join([root, *scope]))
        recording.functions.append(function)
        self.body(Graph(self, scope, recording, function))
        return function


def _function_name(g: Graph, path: str) -> str:
    return f"{g.recording.functions[0].name}.{path}"


def _attribute_name(parent: Module, child: Module) -> str | None:
    for name, value in [*vars(parent).items(), *vars(type(parent)).items()]:
        if value is child:
            return name
        if isinstance(value, list | tuple):
            for i, item in enumerate(value):
                if item is child:
                    return f"{name}_{i}"
    return None


__all__ = ["Graph", "Module", "Output", "Slot"]
