"""Backend: computes ONNX ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bb_core import keys
from bb_core.roles.contract import Role

if TYPE_CHECKING:
    import onnx


class Backend(Role):
    """Compute `ai.onnx` ops on numpy arrays.

    A Backend keeps nothing between calls, so its ops need no order and its slot no claim. The engine asks for each
    kernel once, at install, and calls it directly from then on.

    Attributes:
        ops: Names of the ONNX ops that it has; the compiler refuses a program that records another. One of another
            domain than ONNX's own, which no program records, is named with it: `ai.onnx.preview.training.Adam`.
        opsets: Versions of ONNX's ops that it has: that of artefacts, unless it says more.
    """

    role: ClassVar[str] = keys.BACKEND
    stateful: ClassVar[bool] = False
    has_state: ClassVar[bool] = False
    ops: ClassVar[frozenset[str]] = frozenset()
    opsets: ClassVar[range] = range(21, 22)

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        """Return a callable that takes an op's inputs (None for an absent one) and returns its output, or a tuple.

        The bodies of `If` and `Loop` are attributes, each an `onnx.GraphProto`. What they take from outside follows the
        inputs, and its names in the bodies are the attribute `captures`. An op with more than one output has the
        attribute `outputs`, which says how many are wanted. An op to be read by another opset than that of artefacts,
        which none of the engine's is, has the attribute `opset`.
        """
        raise NotImplementedError

    def graph(self, graph: onnx.GraphProto, opset: int) -> Callable[..., tuple[Any, ...]]:
        """Return a callable for a whole graph: its inputs by position, its outputs as a tuple.

        A Backend that can do better than op by op, such as by fusing them, overrides it. Its callable may have a method
        `into(outputs, inputs)`, which writes those outputs for which it is given an array, and None for others.

        Args:
            graph: Inputs that are initializers too are not among the callable's.
            opset: Version of ai.onnx.
        """
        from bb_core.roles.graphs import op_by_op

        return op_by_op(self, graph, opset)

    def primitive(self, name: str) -> Callable[..., Any]:
        """Return an in-place training kernel: arrays in, results written to the arrays that are passed for them."""
        raise NotImplementedError
