"""What comes back from an op: its outputs, checked against the declaration, or a promise of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bb_core.errors import BBError, RoleError
from bb_core.ids import PeerId
from bb_core.values import TRIGGER, PeerList, Record, Trigger

if TYPE_CHECKING:
    from bb_core.engine.dispatch import Frame, Handler
    from bb_core.engine.laters import Laters
    from bb_core.engine.timers import Timer
    from bb_core.roles.context import Context


class Promised:
    """A `Later`: an op's promise of its outputs.

    Lifecycle: made by `ctx.later()`; parked when the method returns it; answered once, from any thread, unless its
    Frame is cancelled or its deadline passes.
    """

    __slots__ = (
        "_laters", "before", "early", "frame", "is_open", "missing", "network", "on_cancel", "on_deadline", "op",
        "parked", "timer",
    )  # fmt: skip

    def __init__(
        self,
        laters: Laters,
        frame: Frame,
        op: int,
        network: bool,
        on_deadline: Callable[[Context], None] | None = None,
        missing: Callable[[], Iterable[PeerId]] | None = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> None:
        self._laters = laters
        self.frame = frame
        self.op = op
        self.network = network
        self.on_deadline = on_deadline
        self.missing = missing
        self.on_cancel = on_cancel
        self.timer: Timer | None = None
        self.before: Mapping[str, Any] | None = None
        """What the exclusive components that the op uses were before it: slot -> State."""
        self.early: tuple[Any, BaseException | None] | None = None
        """The answer, when it was given before the method returned."""
        self.is_open = True
        self.parked = False

    def park(self, frame: Frame, op: int) -> None:
        """Count the promise among what its Frame waits for."""
        if self.parked or frame is not self.frame or op != self.op:
            raise RoleError(
                "a Later was returned by an op that did not make it",
                expected="`return ctx.later(...)` of the same call",
            )
        self._laters.expect(self)
        self.parked = True
        frame.waiting += 1
        frame.on_network += self.network
        self._laters.parked(self)

    def forget(self) -> None:
        """Let go of what the op has handed over: it mostly refers to the promise, and would live as long as that."""
        self.on_deadline = self.missing = self.on_cancel = self.before = None

    def complete(self, *outputs: Any) -> None:
        """Give the op's outputs, in the order of its declaration."""
        if self.is_open:
            self.is_open = False
            self._laters.post(self, outputs[0] if len(outputs) == 1 else (outputs or None), None)

    def fail(self, error: BaseException) -> None:
        """End the op's branch; the Node reports the error as a Step."""
        if self.is_open:
            self.is_open = False
            self._laters.post(self, None, blame(self.frame.handlers[self.op].info.title, error))


def blame(title: str, error: BaseException) -> BBError:
    """Return an error of ours for whatever an op has raised, or failed its Later with."""
    if isinstance(error, BBError):
        return error
    blamed = RoleError(f"{title} raised {type(error).__name__}: {error}")
    blamed.__cause__ = error
    return blamed


def checked(result: Any, handler: Handler) -> tuple[Any, ...]:
    """Match what an op returned with its outputs, and freeze it.

    A tensor becomes read-only, a number or a numpy scalar a tensor, a dict a Record, a list of peers a PeerList.

    Raises:
        RoleError: the number of outputs or a class is not as declared.
    """
    classes = handler.output_classes
    if len(classes) == 1:
        return (_checked_one(result, classes[0], handler, 0),)
    if result is None and all(c is Trigger for c in classes) and not any(handler.optional_outputs):
        return (TRIGGER,) * len(classes)
    if not isinstance(result, tuple) or len(result) != len(classes):
        got = f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"
        raise RoleError(f"{handler.info.title} returned {got}", expected=f"a tuple of {len(classes)} values")
    return tuple(_checked_one(item, c, handler, i) for i, (item, c) in enumerate(zip(result, classes, strict=True)))


def _checked_one(item: Any, wanted: type | None, handler: Handler, index: int) -> Any:
    kind = type(item)
    if kind is np.ndarray:
        item.flags.writeable = False
        if wanted is None or wanted is np.ndarray:
            return item
    elif kind is wanted or (wanted is None and item is not None):
        return item
    if item is None:
        if handler.optional_outputs[index]:
            return None
        if wanted is Trigger:
            return TRIGGER
    return _coerced(item, wanted, handler)


def _coerced(item: Any, wanted: type | None, handler: Handler) -> Any:
    if wanted is not None and isinstance(item, wanted):
        return item
    if wanted is np.ndarray and isinstance(item, np.generic | int | float):
        array = np.asarray(item, np.float32 if isinstance(item, float) else None)
        array.flags.writeable = False
        return array
    if wanted is Record and isinstance(item, dict):
        return Record(item)
    if wanted is PeerList and isinstance(item, list | tuple):
        return PeerList(item)
    raise RoleError(
        f"{handler.info.title} returned a {type(item).__name__}",
        expected="a value" if wanted is None else wanted.__name__,
    )
