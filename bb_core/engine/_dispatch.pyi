from collections.abc import Callable, Iterable
from typing import Any, final

__all__ = ["Dispatcher", "Frame", "Handler", "Table"]

@final
class Table:
    name: str
    n_values: int
    n_ops: int
    constants: tuple[tuple[int, Any], ...]
    def __init__(
        self,
        name: str,
        n_values: int,
        waits: list[list[int]],
        inputs: list[list[int]],
        outputs: list[list[int]],
        constants: tuple[tuple[int, Any], ...],
        any_of: frozenset[int] = ...,
    ) -> None: ...

@final
class Handler:
    call: Callable[..., Any] | None
    takes_context: bool
    leading: tuple[Any, ...]
    keyword_names: tuple[str, ...] | None
    keyword_values: tuple[Any, ...]
    output_classes: tuple[type | None, ...]
    only_class: type | None
    optional_outputs: tuple[bool, ...]
    exclusive: bool
    info: Any
    calls: int
    spent_ns: int
    def __init__(
        self,
        call: Callable[..., Any] | None,
        takes_context: bool,
        leading: tuple[Any, ...],
        keywords: dict[str, Any],
        output_classes: tuple[type | None, ...],
        optional_outputs: tuple[bool, ...],
        exclusive: bool,
        info: Any,
    ) -> None: ...

@final
class Frame:
    table: Table
    handlers: list[Handler]
    exec_id: Any
    inbound: Any
    origin: bytes
    claims: tuple[Any, ...]
    requests: list[int]
    generators: dict[str, Any] | None
    on_end: Callable[[], None] | None
    waiting: int
    on_network: int
    claimed: bool
    queued: bool
    ended: bool
    exclusive_left: int
    is_idle: bool
    def __init__(
        self,
        table: Table,
        handlers: list[Handler],
        exec_id: Any,
        inbound: Any,
        origin: bytes,
        claims: tuple[Any, ...],
        exclusive_ops: int,
    ) -> None: ...
    def write(self, value: int, item: Any) -> None: ...
    def write_late(self, value: int, item: Any) -> None: ...
    def held_values(self) -> int: ...
    def missing(self, op: int) -> list[int]: ...

@final
class Dispatcher:
    def held_back(self) -> list[tuple[Frame, list[Frame]]]: ...
    context: Any
    services: Any
    live: set[Frame]
    has_work: bool
    def __init__(self, context: Any, services: Any, clock: Callable[[], int] | None = ...) -> None: ...
    def begin(
        self,
        table: Table,
        handlers: list[Handler],
        exec_id: Any,
        inbound: Any,
        origin: bytes,
        claims: tuple[Any, ...],
        exclusive_ops: int,
        seeds: Iterable[tuple[int, Any]],
        starts: Iterable[int],
    ) -> Frame: ...
    def run(self, budget: int) -> int: ...
    def answer(self, frame: Frame, op: int, result: Any, network: bool) -> bool: ...
    def abandon(self, frame: Frame, op: int, network: bool) -> None: ...
