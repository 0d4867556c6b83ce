"""`Output`, the handle of a value in a Graph, and what `g.send` and a sub-module call return."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bb_core.errors import UnknownPort, did_you_mean
from bb_core.types import Type

if TYPE_CHECKING:
    from bb_core.dsl.graph import Graph


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A value in a Graph. It knows its Graph, its type, and where it was recorded.

    `a + b`, `a - b`, `a * b`, `a / b`, `a @ b` and `-a` record ONNX ops on the Module's Backend slot, if it has just
    one.

    Attributes:
        port: How messages and the wire call the value, such as `model.params`.
    """

    graph: Graph
    name: str
    type: Type
    source: str
    port: str

    def __add__(self, other: Any) -> Output:
        return self.graph.operator("Add", self, other)

    def __sub__(self, other: Any) -> Output:
        return self.graph.operator("Sub", self, other)

    def __mul__(self, other: Any) -> Output:
        return self.graph.operator("Mul", self, other)

    def __truediv__(self, other: Any) -> Output:
        return self.graph.operator("Div", self, other)

    def __matmul__(self, other: Any) -> Output:
        return self.graph.operator("MatMul", self, other)

    def __neg__(self) -> Output:
        return self.graph.operator("Neg", self)

    def __bool__(self) -> bool:
        raise TypeError(
            f"the value {self.port!r} is not known while the program is recorded, so `if` and `and` cannot ask for it"
        )

    def __repr__(self) -> str:
        return f"Output({self.port}: {self.type}, recorded at {self.source})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Received(Output):
    """A value as its receivers get it.

    Attributes:
        sender: Peer that sent it, verified by the transport; at home where the value is.
        request: Id of the request; at home where it was sent from.
    """

    sender: Output
    request: Output


class ReceivedParts(tuple[Received, ...]):
    """The parts of a tuple that was sent as one; they share `sender` and `request`."""

    __slots__ = ()

    @property
    def sender(self) -> Output:
        """Peer that sent them."""
        return self[0].sender

    @property
    def request(self) -> Output:
        """Id of the request."""
        return self[0].request


class Outputs:
    """What a sub-module's call returns: its outputs by name (`out.grad`), or in order by unpacking."""

    def __init__(self, module: str, by_name: dict[str, Output]) -> None:
        self._module = module
        self._by_name = by_name

    def __getattr__(self, name: str) -> Output:
        if name.startswith("_"):
            raise AttributeError(name)
        found = self._by_name.get(name)
        if found is None:
            raise UnknownPort(f"{self._module} has no output {name!r}", hint=did_you_mean(name, self._by_name))
        return found

    def __iter__(self) -> Iterator[Output]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)
