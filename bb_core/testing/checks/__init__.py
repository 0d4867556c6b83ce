"""The checks: one file for what is asked of every Concrete, one for each Role.

A Role's file has `TRAITS`, the class of what a Concrete declares; `tour(subject)`, its ops in an order in which a
program might use them; `bad_calls(subject)`, Calls that must not be answered or must change nothing; and `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bb_core.testing.subject import Subject


class Failed(AssertionError):
    """A check does not hold."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and the function that looks whether it is kept.

    Attributes:
        run: Raises when it is not.
        tours: It plays the tour; skipped when the ops do not run at all, which `ops_run` reports.
    """

    name: str
    run: Callable[[Subject], None]
    tours: bool = False

    @property
    def promise(self) -> str:
        """What is promised, in a sentence."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]


def checks(*functions: Callable[[Subject], None], tours: bool = False) -> tuple[Check, ...]:
    """Make Checks of functions, by their names."""
    return tuple(Check(f.__name__, f, tours) for f in functions)


def expect(holds: object, message: str) -> None:
    """Fail the check with a message unless something holds."""
    if not holds:
        raise Failed(message)
