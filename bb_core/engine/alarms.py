"""The timers of components: `ctx.after(delay, tag)` calls `on_timer(ctx, tag)`, in a Frame of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bb_core.engine.components import timer_name
from bb_core.errors import RoleError

if TYPE_CHECKING:
    from bb_core.engine.engine import Engine
    from bb_core.engine.timers import Timer

MOST: Final = 65_536
"""Timers of all components of a Node; a tag may come from a peer."""


class Alarms:
    """The timers that components have set, one for each tag."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._set: dict[tuple[str, str], Timer] = {}

    def set(self, slot: str, delay: int, tag: str) -> None:
        """Set a timer, or move it.

        Raises:
            RoleError: nothing would hear it, or there are too many.
        """
        if timer_name(slot) not in self._engine.functions:
            raise RoleError(
                f"the Concrete in slot {slot!r} sets a timer and has no `on_timer`", expected="on_timer(self, ctx, tag)"
            )
        self.cancel(slot, tag)
        if len(self._set) >= MOST:
            raise RoleError(f"the components of this Node have set {MOST} timers", hint="use fewer tags")
        when = self._engine.now + max(0, int(delay))
        self._set[slot, tag] = self._engine.timers.set(when, "component", (slot, tag), f"timer {tag!r} of {slot}")

    def cancel(self, slot: str, tag: str) -> None:
        """Take a timer back; one that is not set is no error."""
        timer = self._set.pop((slot, tag), None)
        if timer is not None:
            self._engine.timers.cancel(timer)

    def due(self, key: tuple[str, str]) -> None:
        """Begin the Frame of a timer."""
        slot, tag = key
        del self._set[key]
        self._engine.begin_component(timer_name(slot), None, (tag,))

    def load(self, timer: Timer) -> None:
        """Take over a timer of a snapshot."""
        self._set[timer.key] = timer
