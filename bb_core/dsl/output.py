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

    Arithmetic (`a + b`, `2 * a`, `a ** 2`, `a @ b`, `-a`, `abs(a)`), comparisons (`a < b`) and indexing (`a[0]`,
    `a[1:3, ..., -1]`) record ONNX ops on the Module's Backend slot, if it has just one. `==` asks whether two handles
    are the same value; the op is `self.backend.equal(g, a, b)`.

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

    def __radd__(self, other: Any) -> Output:
        return self.graph.operator("Add", other, self)

    def __sub__(self, other: Any) -> Output:
        return self.graph.operator("Sub", self, other)

    def __rsub__(self, other: Any) -> Output:
        return self.graph.operator("Sub", other, self)

    def __mul__(self, other: Any) -> Output:
        return self.graph.operator("Mul", self, other)

    def __rmul__(self, other: Any) -> Output:
        return self.graph.operator("Mul", other, self)

    def __truediv__(self, other: Any) -> Output:
        return self.graph.operator("Div", self, other)

    def __rtruediv__(self, other: Any) -> Output:
        return self.graph.operator("Div", other, self)

    def __pow__(self, other: Any) -> Output:
        return self.graph.operator("Pow", self, other)

    def __rpow__(self, other: Any) -> Output:
        return self.graph.operator("Pow", other, self)

    def __matmul__(self, other: Any) -> Output:
        return self.graph.operator("MatMul", self, other)

    def __rmatmul__(self, other: Any) -> Output:
        return self.graph.operator("MatMul", other, self)

    def __mod__(self, other: Any) -> Output:
        return self.graph.operator("Mod", self, other)

    def __rmod__(self, other: Any) -> Output:
        return self.graph.operator("Mod", other, self)

    def __lt__(self, other: Any) -> Output:
        return self.graph.operator("Less", self, other)

    def __le__(self, other: Any) -> Output:
        return self.graph.operator("LessOrEqual", self, other)

    def __gt__(self, other: Any) -> Output:
        return self.graph.operator("Greater", self, other)

    def __ge__(self, other: Any) -> Output:
        return self.graph.operator("GreaterOrEqual", self, other)

    def __neg__(self) -> Output:
        return self.graph.operator("Neg", self)

    def __abs__(self) -> Output:
        return self.graph.operator("Abs", self)

    def __getitem__(self, key: Any) -> Output:
        from bb_core.dsl.indexing import index

        return index(self, key)

    def __iter__(self) -> Iterator[Output]:
        raise TypeError(f"the value {self.port!r} is one value, and cannot be unpacked; take parts of it by indexing")

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
        delivered: Trigger that all peers have confirmed it, at home there too; None unless it was sent with `ack=True`.
    """

    sender: Output
    request: Output
    delivered: Output | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Gathered(Output):
    """All answers to a request as one list (a composite), in order of peer id.

    Attributes:
        senders: Their peers, in the same order.
    """

    senders: Output


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

    @property
    def delivered(self) -> Output | None:
        """Trigger that all peers have confirmed them; None unless they were sent with `ack=True`."""
        return self[0].delivered


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
