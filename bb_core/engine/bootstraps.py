"""Bootstraps: what runs once, before a Node's bodies may use what it prepares.

Lifecycle: expected at install · begun (by itself when it has no inputs, else by the host) · done, or failed and begun
again. While one is not done, an op of a body waits that touches a slot which it prepares, or with which its Frame would
claim one; all other ops run. Bootstraps run side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
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
"""How many Frames may wait for the bootstraps; a peer could fill the memory otherwise."""


class BootstrapStatus(Enum):
    """Where a target's bootstrap stands."""

    WAITING = "waiting"
    """It has inputs, and the host has not given them."""
    RUNNING = "running"
    FAILED = "failed"
    """An op of it failed, or it was cancelled; the host may run it again."""
    DONE = "done"


class Bootstraps:
    """The bootstraps of one Node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.names: list[str] = []
        """Targets that have one to run here."""
        self._pending: set[str] = set()
        self._running: dict[str, Frame] = {}
        self._broken: set[str] = set()
        self._touched: dict[str, frozenset[str]] = {}
        self._is_told = False

    def expect(self, target: str, function: FunctionProgram) -> None:
        """Take in a function of a target that is installed; only a bootstrap's own part has something to run."""
        if is_bootstrap(function.name) and BOOTSTRAP in function.entries:
            self.names.append(target)
            self._pending.add(target)
            self._touched[target] = frozenset(s for op in function.ops for s in op.touched)
            self._set_gate()

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
        self._set_gate()
        self._watch(target, self._engine.run_bootstrap(bootstrap_name(target), exec_id, inputs))

    def _watch(self, target: str, frame: Frame) -> None:
        self._running[target] = frame
        frame.on_end = lambda: self._ended(target)

    def admits(self, function: str, touched: frozenset[str]) -> bool:
        """Say whether a Frame may begin. One that will wait is told of once; too many of them are dropped."""
        gate = self._engine.dispatcher.gate
        if gate is None or gate.isdisjoint(touched) or is_bootstrap(function):
            return True
        if len(self._engine.dispatcher.live) >= MOST_HELD:
            self._engine.steps.append(Deferred(f"{function} is dropped: {MOST_HELD} wait for a bootstrap already"))
            return False
        if not self._is_told:
            self._is_told = True
            self._engine.steps.append(Deferred(f"{function} waits for the bootstrap of {', '.join(self.pending)}"))
        return True

    @property
    def pending(self) -> list[str]:
        """Targets whose bootstrap is not done."""
        return sorted(self._pending)

    def status(self, target: str) -> BootstrapStatus:
        """Say where a target's bootstrap stands."""
        if target in self._running:
            return BootstrapStatus.RUNNING
        if target in self._broken:
            return BootstrapStatus.FAILED
        return BootstrapStatus.WAITING if target in self._pending else BootstrapStatus.DONE

    def waited_for(self, touched: frozenset[str]) -> list[str]:
        """Return the targets whose bootstrap prepares one of some slots."""
        return [target for target in self.pending if not self._touched[target].isdisjoint(touched)]

    def failed(self, frame: Frame) -> None:
        """Take in that an op of a Frame has failed, or that the Frame is cancelled."""
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
        self._is_told = False
        self._set_gate()

    def _set_gate(self) -> None:
        self._engine.dispatcher.open_gate(frozenset().union(*(self._touched[t] for t in self._pending)))

    # --- as it was ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what is pending, running and broken, as plain data."""
        return {
            "pending": self.pending,
            "running": {target: frame.exec_id for target, frame in sorted(self._running.items())},
            "broken": sorted(self._broken),
            "is_told": self._is_told,
        }

    def load(self, state: dict[str, Any], frames: dict[int, Frame]) -> None:
        """Take over a state; `frames` are the live ones by id. Gated ops stay where they are."""
        self._pending, self._broken = set(state["pending"]), set(state["broken"])
        self._is_told = state["is_told"]
        for target, number in state["running"].items():
            self._watch(target, frames[number])
        self._engine.dispatcher.gate = frozenset().union(*(self._touched[t] for t in self._pending)) or None
