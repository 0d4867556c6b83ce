"""`CpuBackend`: ONNX ops on numpy, training kernels by numba, matrix products by BLAS on one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import bb_core as bb
from bb_core.errors import RoleError, did_you_mean
from bb_plugins.backends.cpu.blas import limit_blas
from bb_plugins.backends.cpu.node import Node
from bb_plugins.backends.cpu.table import NAMES, NEWEST, OLDEST, gives_several, kernel_of

OPSET = 21
"""That of artefacts, by which the engine's ops are read."""

_PRIMITIVES = {
    "add_four_scaled": "aggregate",
    "add_scaled": "aggregate",
    "add_squared_distances": "robust",
    "erf": "activations",
    "gelu": "activations",
    "mean_of_rows": "robust",
    "mlp_backward": "mlp",
    "mlp_forward": "mlp",
    "mlp_train": "mlp",
    "sgd": "mlp",
    "softmax_cross_entropy": "mlp",
    "sort_columns": "robust",
}
"""Primitive -> the module of kernels that has it; numba is imported when the first is asked for."""


@bb.concrete("bytesandbrains.CpuBackend")
class CpuBackend(bb.roles.Backend):
    """Compute on the CPU, on the calling thread, with equal bytes for equal inputs."""

    ops = NAMES
    opsets = range(OLDEST, NEWEST + 1)

    @dataclass(frozen=True, slots=True)
    class Config:
        """How it shares the machine."""

        blas_threads: int | None = 1
        """Threads of the process's BLAS; a sum's order, and so its bytes, depends on it. None leaves it as it is."""

        def __post_init__(self) -> None:
            if self.blas_threads is not None and self.blas_threads < 1:
                raise ValueError(f"blas_threads is {self.blas_threads}; expected at least 1, or None")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.blas_threads is not None:
            limit_blas(config.blas_threads)

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        """Return the callable of an ONNX op.

        Raises:
            RoleError: there is no such op, or none of so old an opset.
        """
        count, opset = int(attributes.get("outputs", 1)), int(attributes.get("opset", OPSET))
        domain, _, op = name.rpartition(".")
        node = Node(op, attributes, {"": opset} | ({domain: 1} if domain else {}), domain, (True,) * count)
        found = kernel_of(node)
        return _trimmed(found, count) if gives_several(domain, op) else found

    def graph(self, graph: Any, opset: int) -> Callable[..., tuple[Any, ...]]:
        """Return a callable for a whole graph, which makes a plan for each shapes of inputs that it is given."""
        from bb_plugins.backends.cpu.plans.planned import planned

        return planned(graph, {"": opset})

    def primitive(self, name: str) -> Callable[..., Any]:
        """Return an in-place training kernel."""
        return primitive(name)


def _trimmed(kernel: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Leave out the outputs of a kernel that nobody has asked for."""
    if count == 1:
        return lambda *inputs: kernel(*inputs)[0]
    return lambda *inputs: kernel(*inputs)[:count]


def primitive(name: str) -> Callable[..., Any]:
    """Return a compiled kernel by name.

    Raises:
        RoleError: there is none of that name.
    """
    if name not in _PRIMITIVES:
        raise RoleError(f"CpuBackend has no primitive {name!r}", hint=did_you_mean(name, _PRIMITIVES))
    from importlib import import_module

    found: Callable[..., Any] = getattr(import_module(f"bb_plugins.backends.cpu.kernels.{_PRIMITIVES[name]}"), name)
    return found
