"""`OnnxRuntimeBackend`: ONNX ops by onnxruntime, each in a session of its own that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

import bb_core as bb
from bb_core.errors import MissingExtra, RoleError, did_you_mean
from bb_plugins.backends.onnxruntime.ops import OPS, outputs_of

_OPSET: Final = 21  # that of every artefact
_IR_VERSION: Final = 10
_SESSIONS: Final = 1024  # a session of one op takes some ten kilobytes


@bb.concrete("bytesandbrains.OnnxRuntimeBackend")
class OnnxRuntimeBackend(bb.roles.Backend):
    """Compute by onnxruntime on the CPU, on one thread unless told otherwise, with equal bytes for equal inputs.

    A kernel is a model of one op. Its session is made when the op first meets inputs of some element types, and is
    shared by all Nodes of the process. Of an op with optional outputs, such as MaxPool, the first is computed. It has
    no training kernels: a Model such as MLP depends on a CpuBackend.
    """

    ops = OPS

    @dataclass(frozen=True, slots=True)
    class Config:
        """How it shares the machine."""

        threads: int = 1
        """Threads of one op; a sum's order, and so its bytes, may depend on it."""

        def __post_init__(self) -> None:
            if self.threads < 1:
                raise ValueError(f"threads is {self.threads}; expected at least 1")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        onnxruntime()

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        """Return the callable of an ONNX op."""
        if name not in OPS:
            raise RoleError(f"OnnxRuntimeBackend has no op {name!r}", hint=did_you_mean(name, OPS))
        plain = {key: value for key, value in attributes.items() if key not in ("captures", "outputs", "opset")}
        wanted = attributes.get("outputs")
        captured = tuple(attributes.get("captures", ()))
        sessions: dict[tuple[Any, ...], Any] = {}

        def run(*inputs: Any) -> Any:
            arrays = [None if value is None else np.asarray(value) for value in inputs]
            kinds = tuple(None if array is None else array.dtype for array in arrays)
            outputs = int(wanted) if wanted else outputs_of(name, plain, arrays)
            found = sessions.get((outputs, kinds))
            if found is None:
                found = _Session(name, plain, captured, kinds, outputs, self.config.threads)
                sessions[outputs, kinds] = found
            return found(arrays)

        return run

    def graph(self, graph: Any, opset: int) -> Callable[..., tuple[Any, ...]]:
        """Return a callable for a whole graph: one session, in which onnxruntime fuses what it can.

        It wants to know the type of each input; one that the graph does not tell is that of the first array.
        """
        constants = {i.name for i in graph.initializer}
        names = [i.name for i in graph.input if i.name not in constants]
        untold = {i.name for i in graph.input if not i.type.HasField("tensor_type")}
        sessions: dict[tuple[Any, ...], Any] = {}
        if not untold:
            sessions[()] = self._session_of(graph, opset, {})

        def run(*inputs: Any) -> tuple[Any, ...]:
            given = dict(zip(names, map(np.asarray, inputs), strict=True))
            told = {name: given[name].dtype for name in names if name in untold}
            key = tuple(told.values())
            if key not in sessions:
                sessions[key] = self._session_of(graph, opset, told)
            return tuple(sessions[key].run(None, given))

        return run

    def _session_of(self, graph: Any, opset: int, told: Mapping[str, np.dtype[Any]]) -> Any:
        from onnx import helper

        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION)
        for i, given in enumerate(model.graph.input):
            if given.name in told:
                kind = helper.np_dtype_to_tensor_dtype(told[given.name])
                model.graph.input[i].CopyFrom(helper.make_tensor_value_info(given.name, kind, None))
        return _session(bytes(model.SerializeToString(deterministic=True)), self.config.threads)

    def primitive(self, name: str) -> Callable[..., Any]:
        """Refuse: onnxruntime has no in-place training kernels."""
        raise RoleError(
            f"OnnxRuntimeBackend has no training kernel {name!r}",
            hint='bind "bytesandbrains.CpuBackend" to the slot that the Model depends on',
        )


class _Session:
    """One op on inputs of certain element types."""

    def __init__(
        self,
        name: str,
        attributes: Mapping[str, Any],
        captured: tuple[str, ...],
        kinds: tuple[np.dtype[Any] | None, ...],
        outputs: int,
        threads: int,
    ) -> None:
        own = len(kinds) - len(captured)
        names = [f"input_{i}" for i in range(own)] + list(captured)  # a body finds what it captures by name
        self._given = [(i, names[i]) for i, kind in enumerate(kinds) if kind is not None]
        try:
            self._session = _session(_model(name, attributes, names, own, kinds, outputs), threads)
        except Exception as error:  # onnxruntime's errors have no common base but RuntimeError and Exception
            given = ", ".join("nothing" if kind is None else str(kind) for kind in kinds)
            raise RoleError(f"onnxruntime cannot run {name} on ({given}): {error}") from error

    def __call__(self, arrays: list[Any]) -> Any:
        found = self._session.run(None, {name: arrays[i] for i, name in self._given})
        return found[0] if len(found) == 1 else tuple(found)


def _model(
    name: str,
    attributes: Mapping[str, Any],
    names: list[str],
    own: int,
    kinds: tuple[np.dtype[Any] | None, ...],
    count: int,
) -> bytes:
    """Write a model of one node; shapes stay open."""
    from onnx import helper

    outputs = [f"output_{i}" for i in range(count)]
    given = [n if kind is not None else "" for n, kind in zip(names[:own], kinds, strict=False)]
    node = helper.make_node(name, given, outputs, **attributes)
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(kind), None)
        for n, kind in zip(names, kinds, strict=True)
        if kind is not None
    ]
    graph = helper.make_graph([node], name, inputs, [helper.make_empty_tensor_value_info(o) for o in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


@lru_cache(maxsize=_SESSIONS)
def _session(model: bytes, threads: int) -> Any:
    library = onnxruntime()
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what it refuses, it raises
    return library.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnxruntime() -> Any:
    """Import onnxruntime.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import onnxruntime as library
    except ImportError as error:
        raise MissingExtra(
            "OnnxRuntimeBackend needs onnxruntime", hint='pip install "bytesandbrains[onnxruntime]"'
        ) from error
    return library
