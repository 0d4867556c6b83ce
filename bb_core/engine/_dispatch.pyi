from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from bb_core.steps import PollResult

__all__ = ["Current", "Dispatcher", "Frame", "Handler", "Holder", "Lane", "Loop", "Plan", "Sender", "Table"]

@final
class Table:
    name: str
    n_values: int
    n_ops: int
    constants: tuple[tuple[int, Any], ...]
    tokens: tuple[int, ...]
    def __init__(
        self,
        name: str,
        n_values: int,
        waits: list[list[int]],
        inputs: list[list[int]],
        outputs: list[list[int]],
        constants: tuple[tuple[int, Any], ...],
        any_of: frozenset[int] = ...,
        tokens: list[int] | None = ...,
    ) -> None: ...

@final
class Plan:
    name: str
    table: Table
    starts: tuple[int, ...]
    claims: tuple[Any, ...]
    exclusive_ops: int
    touched: frozenset[Any]
    over: tuple[int, ...]
    def __init__(
        self,
        name: str,
        table: Table,
        starts: tuple[int, ...],
        claims: tuple[Any, ...],
        exclusive_ops: int,
        touched: frozenset[Any],
        over: tuple[int, ...] = ...,
    ) -> None: ...

@final
class Handler:
    call: Any
    takes_context: bool
    leading: tuple[Any, ...]
    keyword_names: tuple[str, ...] | None
    keyword_values: tuple[Any, ...]
    output_classes: tuple[type | None, ...]
    only_class: type | None
    optional_outputs: tuple[bool, ...]
    exclusive: bool
    touched: frozenset[Any]
    info: Any
    calls: int
    spent_ns: int
    def __init__(
        self,
        call: Callable[..., Any] | str,
        takes_context: bool,
        leading: tuple[Any, ...],
        keywords: dict[str, Any],
        output_classes: tuple[type | None, ...],
        optional_outputs: tuple[bool, ...],
        exclusive: bool,
        info: Any,
        touched: frozenset[Any] = ...,
    ) -> None: ...

@final
class Lane:
    table: Table
    handlers: list[Handler]
    prepares: bool
    def __init__(self, table: Table, handlers: list[Handler], prepares: bool = ...) -> None: ...

class Current:
    frame: Frame
    op: int
    handler: Handler
    def enter(self, frame: Frame, op: int) -> None: ...
    def first_written(self) -> int: ...

@final
class Frame:
    lane: Lane
    table: Table
    plan: Plan
    handlers: list[Handler]
    exec_id: Any
    inbound: Any
    origin: tuple[Any, ...]
    claims: tuple[Any, ...]
    charge: int
    assembled: int
    requests: list[int] | None
    outgoing: list[Any] | None
    generators: dict[str, Any] | None
    gated: list[int] | None
    on_end: Callable[[], None] | None
    waiting: int
    on_network: int
    claimed: bool
    blocked: bool
    queued: bool
    ended: bool
    exclusive_left: int
    is_idle: bool
    def __init__(self, lane: Lane, plan: Plan, exec_id: Any, inbound: Any, origin: tuple[Any, ...]) -> None: ...
    def write(self, value: int, item: Any) -> None: ...
    def write_late(self, value: int, item: Any) -> None: ...
    def holds(self, value: int) -> bool: ...
    def held_values(self) -> int: ...
    def inputs(self, op: int) -> tuple[Any, ...]: ...
    def missing(self, op: int) -> list[int]: ...
    def state(self) -> dict[str, Any]: ...

@final
class Holder:
    source: Any
    frames: int
    charge: int
    assembled: int
    def __init__(self, source: Any) -> None: ...

@final
class Dispatcher:
    context: Any
    services: Any
    observer: Any
    gate: frozenset[Any] | None
    steps: list[Any]
    charged: int
    assembled: int
    holders: dict[Any, Holder]
    live: dict[Any, Frame]
    frames: int
    origins: int
    routes: dict[tuple[str, ...], tuple[Lane, Plan, tuple[int, ...], tuple[type | None, ...]]]
    has_work: bool
    def __init__(self, context: Current, services: Any, clock: Callable[[], int] | None = ...) -> None: ...
    def begin(
        self,
        lane: Lane,
        plan: Plan,
        exec_id: Any,
        inbound: Any,
        origin: tuple[Any, ...],
        values: Sequence[int],
        items: Sequence[Any],
    ) -> Frame: ...
    def begin_invoke(self, target: str, key: tuple[str, ...], exec_id: Any, values: Sequence[Any]) -> None: ...
    def run(self, budget: int) -> int: ...
    def hold(self, frame: Frame, source: Any, charge: int, assembled: int) -> int: ...
    def answer(self, frame: Frame, op: int, result: Any, network: bool) -> bool: ...
    def abandon(self, frame: Frame, op: int, network: bool) -> None: ...
    def cancel(self, frame: Frame) -> None: ...
    def open_gate(self, gate: frozenset[Any]) -> None: ...
    def held_back(self) -> list[tuple[Frame, list[Frame]]]: ...
    def queues(self) -> list[tuple[str, int, list[Any]]]: ...
    def revive(
        self, lane: Lane, plan: Plan, exec_id: Any, inbound: Any, origin: tuple[Any, ...], state: dict[str, Any]
    ) -> Frame: ...
    def requeue(self, lane: Lane, left: int, frames: list[Frame]) -> None: ...

@final
class Sender:
    later: deque[tuple[int, str, tuple[Any, ...]]]
    count: int
    held: int
    def __init__(self) -> None: ...

@final
class Loop:
    dispatcher: Dispatcher
    engine: Any
    ingress: deque[tuple[int, str, tuple[Any, ...]]]
    senders: dict[Any, Sender]
    waiting: int
    dropped: dict[Any, int]
    held: int
    now: int
    most: int
    budget: int
    is_started: bool
    is_watched: bool
    recorder: Any
    def __init__(
        self, engine: Any, take: dict[str, Callable[..., None]], host: Any, most: int, budget: int
    ) -> None: ...
    def put(self, kind: str, now: int, arguments: tuple[Any, ...]) -> None: ...
    def receive(self, now: int, data: Any, source: Any, observed: Any, size: int) -> None: ...
    def in_order(self) -> list[tuple[int, str, tuple[Any, ...]]]: ...
    def invoke(self, target: str, inputs: Mapping[str, Any], now: int) -> int: ...
    def poll(self, now: int) -> PollResult: ...
