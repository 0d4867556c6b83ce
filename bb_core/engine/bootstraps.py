"""Bootstraps: what runs once, before a Node's bodies may.

Lifecycle: expected at install · begun (by itself when it has no inputs, else by the host) · done, or failed and begun
again. While one is not done, what would begin a Frame that touches a slot of it waits, in the order in which it came;
so does what follows on a slot of what waits. What touches none of them, and what begins a bootstrap, does not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from bb_core.engine.program import FunctionProgram
from bb_core.ids import ExecId
from bb_core.ir.entries import BOOTSTRAP
from bb_core.ir.naming import bootstrap_name, is_bootstrap
from bb_core.steps import BootstrapCompleted, Deferred

if TYPE_CHECKING:
    from bb_core.engine.dispatch import Frame
    from bb_core.engine.engine import Engine


MOST_HELD: Final = 4096
"""What may wait for the bootstraps; a peer could fill the memory otherwise."""


class Bootstraps:
    """The bootstraps of one Node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.names: list[str] = []
        """Targets that have one to run here."""
        self._pending: set[str] = set()
        self._running: dict[str, Frame] = {}
        self._broken: set[str] = set()
        self._held: list[tuple[frozenset[str], Callable[[], Any]]] = []
        self._touched: dict[str, frozenset[str]] = {}

    def expect(self, target: str, function: FunctionProgram) -> None:
        """Take in a function of a target that is installed; only a bootstrap's own part has something to run."""
        if is_bootstrap(function.name) and BOOTSTRAP in function.entries:
            self.names.append(target)
            self._pending.add(target)
            self._touched[target] = frozenset(s for op in function.ops for s in op.touched)

    def start(self) -> None:
        """Begin those that need no inputs."""
        for target in self.names:
            function = self._engine.program.functions[bootstrap_name(target)]
            if not function.inputs and target in self._pending and target not in self._running:
                self.begin(target, self._engine.next_exec(), {})

    def begin(self, target: str, exec_id: ExecId, inputs: Mapping[str, Any]) -> None:
        """Begin a bootstrap, for the first time or anew; one that runs is not begun twice."""
        if target in self._running:
            self._engine.steps.append(Deferred(f"the bootstrap of {target} is running already"))
            return
        self._pending.add(target)
        self._broken.discard(target)
        frame = self._engine.run_bootstrap(bootstrap_name(target), exec_id, inputs)
        self._running[target] = frame
        frame.on_end = lambda: self._ended(target)

    def holds(self, function: str, touched: frozenset[str]) -> bool:
        """Whether what begins a Frame that touches some slots must wait."""
        if not self._pending or is_bootstrap(function):
            return False
        preparing = (self._touched[target] for target in self._pending)
        return any(touched & slots for slots in (*preparing, *(slots for slots, _ in self._held)))

    def hold(self, function: str, touched: frozenset[str], begin: Callable[[], Any]) -> None:
        """Keep what begins a body until the bootstraps that it waits for are done."""
        if len(self._held) >= MOST_HELD:
            self._engine.steps.append(Deferred(f"{function} is dropped: {MOST_HELD} wait for a bootstrap already"))
            return
        if not self._held:
            waited = ", ".join(sorted(self._pending))
            self._engine.steps.append(Deferred(f"{function} waits for the bootstrap of {waited}"))
        self._held.append((touched, begin))

    @property
    def pending(self) -> list[str]:
        """Targets whose bootstrap is not done."""
        return sorted(self._pending)

    @property
    def held(self) -> int:
        """How many beginnings wait for them."""
        return len(self._held)

    def failed(self, frame: Frame) -> None:
        """Take in that an op of a Frame has failed."""
        for target, running in self._running.items():
            if running is frame:
                self._broken.add(target)

    def _ended(self, target: str) -> None:
        del self._running[target]
        if target in self._broken:
            self._engine.steps.append(
                Deferred(f"the bootstrap of {target} failed; its body waits until Node.bootstrap has succeeded")
            )
            return
        self._pending.discard(target)
        self._engine.steps.append(BootstrapCompleted(target))
        held, self._held = self._held, []
        for touched, begin in held:
            if self.holds("", touched):
                self._held.append((touched, begin))
            else:
                begin()
