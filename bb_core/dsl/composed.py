"""A built program as a Module: compile it as it is, or call it inside another one's body."""

from __future__ import annotations

from typing import Any

import onnx

from bb_core import keys
from bb_core.dsl.graph import Graph
from bb_core.dsl.module import Module
from bb_core.errors import AuthoringError
from bb_core.ir.naming import bootstrap_name
from bb_core.ir.proto import attributes, input_source, metadata, value_types
from bb_core.ir.recorded import RecordedFunction, RecordedNode, Recording
from bb_core.ops.table import find_spec
from bb_core.registry import decode_use


class ComposedModule(Module):
    """What `Module.from_proto` returns."""

    def __init__(self, model: onnx.ModelProto | bytes) -> None:
        self._model = _read(model)
        functions = self._model.functions
        if not functions or functions[0].domain != keys.MODULE:
            raise AuthoringError(
                "the model is no built Module",
                expected="what Module.build() returned",
                hint="a plain ONNX graph is recorded op by op, on a Backend slot",
            )
        if keys.PASSPORT in metadata(self._model):
            raise AuthoringError(
                "the model is compiled already", expected="what Module.build() returned", hint="give it to bb.install"
            )
        self._functions = {f.name: f for f in functions}

    @property
    def name(self) -> str:
        """Name of the program."""
        return str(self._model.functions[0].name)

    def body(self, g: Graph) -> None:
        """Not used: the functions are taken over as they are."""

    def build(self) -> onnx.ModelProto:
        """Return a copy of the model."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self._model)
        return copy

    def record_body(self, recording: Recording, scope: tuple[str, ...]) -> RecordedFunction:
        """Take over all functions, the slots with their paths under this scope."""
        before = len(recording.functions)
        for function in self._model.functions:
            recording.functions.append(self._decode(function, recording, scope))
        for key, value in metadata(self._model).items():
            if key.startswith(keys.SLOT_ROLE):
                recording.slots[_scoped(scope, key.removeprefix(keys.SLOT_ROLE))] = value
            elif key.startswith(keys.SLOT_CLASS):
                recording.slot_classes[_scoped(scope, key.removeprefix(keys.SLOT_CLASS))] = value
            elif key.startswith(keys.SLOT_DEFAULT):
                recording.slot_defaults[_scoped(scope, key.removeprefix(keys.SLOT_DEFAULT))] = decode_use(value)
        return recording.functions[before]

    def record_bootstrap(self, recording: Recording, scope: tuple[str, ...]) -> RecordedFunction | None:
        """Return the bootstrap that was taken over with the body."""
        return recording.find(bootstrap_name(".".join([recording.functions[0].name, *scope])))

    def _decode(self, proto: onnx.FunctionProto, recording: Recording, scope: tuple[str, ...]) -> RecordedFunction:
        types = value_types(proto)
        return RecordedFunction(
            self._renamed(proto.name, recording, scope),
            {v: types[v] for v in proto.input},
            {v: types[v] for v in proto.output},
            [self._node(n, recording, scope) for n in proto.node],
            types,
            {v: input_source(proto, v) for v in proto.input if input_source(proto, v)},
        )

    def _node(self, node: onnx.NodeProto, recording: Recording, scope: tuple[str, ...]) -> RecordedNode:
        props = metadata(node)
        if keys.SLOT in props:
            props[keys.SLOT] = _scoped(scope, props[keys.SLOT])
        attrs: dict[str, Any] = attributes(node)
        spec = find_spec(node.domain, node.op_type)
        for slot in spec.slots if spec else ():
            attrs[slot.name] = _scoped(scope, attrs[slot.name])
        called = node.domain == keys.MODULE
        op_type = self._renamed(node.op_type, recording, scope) if called else node.op_type
        return RecordedNode(node.name, node.domain, op_type, tuple(node.input), tuple(node.output), attrs, props)

    def _renamed(self, function: str, recording: Recording, scope: tuple[str, ...]) -> str:
        """A function's name under the root and scope that it is taken into."""
        root = recording.functions[0].name if scope else self.name
        return ".".join([root, *scope]) + function.removeprefix(self.name)


def _read(model: Any) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    found = onnx.ModelProto()
    try:
        found.ParseFromString(model)
    except Exception as error:  # protobuf raises its own kinds, and TypeError for what is no bytes
        raise AuthoringError(
            f"a {type(model).__name__} was given that is no model: {error}",
            expected="what Module.build() returned, or its bytes",
        ) from error
    return found


def _scoped(scope: tuple[str, ...], path: str) -> str:
    return ".".join([*scope, path])
