"""`OpSpec`, the one declaration of an op; recorder methods, checks, schemas and documents are made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from bb_core.types import Type


class Answer(Enum):
    """When an op gives its outputs."""

    NOW = "now"
    LATER = "later"
    """It may answer now, or later by `ctx.later()`."""
    NETWORK = "network"
    """It answers after other peers have: its Frame lets go of its exclusive slots while it waits."""
    TIME = "time"
    """It answers when a time has come; its Frame lets go of its exclusive slots likewise."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of an op.

    Attributes:
        name: Unique among the op's ports; the author's keyword.
        type: What values may stand here.
        optional: An input may be left out; an output may stay unwritten, and its readers then never run.
        variadic: The last input only: any number of values.
    """

    name: str
    type: Type
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Attribute:
    """A value fixed when the op is recorded.

    Attributes:
        kind: `int`, `float`, `str`, `bool`, `ints`, `strs` or `duration` (recorded as nanoseconds).
        default: Used when the author gives none; required when it is `REQUIRED`.
        minimum: Smaller numbers are refused while recording.
    """

    name: str
    kind: str
    default: Any = None
    minimum: int | None = None


REQUIRED: Final = object()
"""Default of an attribute that the author must give."""


@dataclass(frozen=True, slots=True)
class SlotPort:
    """A slot that an op is given as an argument, such as the DataSource of `train_epochs`.

    The recorder stores its path as an attribute of this name; the Concrete's method gets the bound instance.
    """

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class OpSpec:
    """Declare an op: identity, ports, attributes and how it answers.

    Attributes:
        domain: ONNX domain.
        name: ONNX op type.
        version: Opset version in which this form of the op came.
        stateful: Ops on one stateful slot keep program order.
        method: Method of a Role's contract that the op calls; empty for the framework's own ops.
        expanded_by: Compiler pass that replaces this op before it can run; empty when it runs as it is.
        record: Dotted name of the recorder function (`bb.syscalls.limit.acquire`); empty when there is none.
        source: Begins a Frame of its own (`timer`, `event` or `lifecycle`), whose seeds are the op's outputs.
        any_of: Ready as soon as one input is written; the others are None.
        call: `"module:function"` that runs an op which a plugin declares; it is given `ctx`, inputs and attributes.
        relations: Names of type relations between ports, resolved by the type solver.
    """

    domain: str
    name: str
    version: int
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    slots: tuple[SlotPort, ...] = ()
    answer: Answer = Answer.NOW
    stateful: bool = False
    method: str = ""
    expanded_by: str = ""
    relations: tuple[str, ...] = ()
    record: str = ""
    source: str = ""
    any_of: bool = False
    call: str = ""
    doc: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Domain and name, by which a node finds its declaration."""
        return self.domain, self.name

    def signature(self) -> str:
        """Write the op as one readable line."""
        ins = [f"{'*' if p.variadic else ''}{p.name}{'?' if p.optional else ''}: {p.type}" for p in self.inputs]
        ins += [f"{s.name}: {s.role} slot" for s in self.slots]
        ins += [f"{a.name}={'required' if a.default is REQUIRED else a.default!r}" for a in self.attributes]
        outs = ", ".join(f"{'*' if p.variadic else ''}{p.name}: {p.type}" for p in self.outputs)
        return f"{self.name}({', '.join(ins)}) -> {outs}"
