"""What flows along an edge: tensors (numpy arrays) and a few small frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from bb_core.errors import TypeMismatch
from bb_core.ids import PeerId

Tensor = npt.NDArray[Any]
"""A numpy array, read-only once it has been written to an edge."""


@final
class Trigger:
    """A value without data: it says that something has happened. There is one, `TRIGGER`."""

    __slots__ = ()
    _only: Trigger | None = None

    def __new__(cls) -> Trigger:
        """Return the one there is."""
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "TRIGGER"


TRIGGER: Final = Trigger()


class RequestId(int):
    """A request's 64-bit id, never zero."""

    __slots__ = ()


class PeerList(tuple[PeerId, ...]):
    """Peers in a fixed order."""

    __slots__ = ()

    def __new__(cls, peers: Iterable[PeerId] = ()) -> PeerList:
        """Put peers into a list, in the order given."""
        return super().__new__(cls, tuple(peers))


class Composite(tuple[Any, ...]):
    """Several values, each of any type that can travel, as one."""

    __slots__ = ()


Scalar = int | float | bool | str | bytes
_FIELD_TYPES: Final = (bool, int, float, str, bytes)


class Record(Mapping[str, Any]):
    """Named facts that travel with a value (sample counts, losses, metrics).

    A field is a bool, an int of 64 bits, a float, a str, bytes or a tensor. Fields are kept in order of their names, so
    that equal Records have equal bytes. A Record cannot be changed; `merge` returns a new one.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        given = {**(fields or {}), **named}
        self._fields = {name: _field(name, given[name]) for name in sorted(given)}

    def merge(self, **named: Any) -> Record:
        """Return a Record with these fields added or replaced."""
        return Record({**self._fields, **named})

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return "Record(" + ", ".join(f"{k}={v!r}" for k, v in self._fields.items()) + ")"


def _field(name: str, value: Any) -> Any:
    kind = type(value)
    if kind in _FIELD_TYPES:
        return value
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
        return value
    if isinstance(value, np.generic):
        return value.item()
    raise TypeMismatch(
        f"field {name!r} of a Record is a {type(value).__name__}",
        expected="bool, int, float, str, bytes or a numpy array",
        field=name,
    )
