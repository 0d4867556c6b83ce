"""Where the windows of a convolution or pooling lie: its attributes, with padding that is worked out."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from bb_core.errors import NotDifferentiable
from bb_plugins.training.tape import Tape, attributes_of


@dataclass(frozen=True, slots=True)
class Windows:
    """One entry for each spatial axis.

    Attributes:
        sizes: Of the kernel.
        strides: Steps between windows.
        dilations: Steps inside one.
        pads: What is added before and after.
        group: In how many groups channels fall.
    """

    sizes: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[tuple[int, int]]
    group: int

    @property
    def flat_pads(self) -> list[int]:
        """As ONNX writes them: what comes before, for all axes, then what comes after."""
        return [before for before, _ in self.pads] + [after for _, after in self.pads]


def windows_of(t: Tape, node: onnx.NodeProto) -> Windows:
    """Read the windows of a node.

    Raises:
        NotDifferentiable: a length that padding depends on is not known, or windows may reach over the edge.
    """
    given = attributes_of(node)
    x = node.input[0]
    space = range(2, t.rank(x))
    sizes = list(given.get("kernel_shape") or ()) or t.lengths(node.input[1], space, node.op_type)
    strides = list(given.get("strides") or [1] * len(sizes))
    dilations = list(given.get("dilations") or [1] * len(sizes))
    if given.get("ceil_mode", 0):
        raise NotDifferentiable(f"{node.op_type} with ceil_mode has no gradient rule", hint="use explicit pads")
    auto = given.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        flat = list(given.get("pads") or [0] * (2 * len(sizes)))
        pads = list(zip(flat[: len(sizes)], flat[len(sizes) :], strict=True))
    elif auto == "VALID":
        pads = [(0, 0)] * len(sizes)
    else:
        lengths = t.lengths(x, space, f"{node.op_type} with auto_pad={auto}")
        pads = []
        for length, size, stride, dilation in zip(lengths, sizes, strides, dilations, strict=True):
            whole = max(0, (-(-length // stride) - 1) * stride + (size - 1) * dilation + 1 - length)
            small = whole // 2
            pads.append((small, whole - small) if auto == "SAME_UPPER" else (whole - small, small))
    return Windows(sizes, strides, dilations, pads, int(given.get("group", 1)))
