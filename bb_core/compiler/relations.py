"""Relations between the types of an op's ports: one function each, by name, in one table.

A relation is given the types of an op's inputs and outputs and returns them sharper, or raises `Conflict`. It is run
until nothing changes, so it need not be strong in one step; it must only never make a type less known.

An OpSpec names its relations. A plugin's op may name one of its own as `"module:function"`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Final

from bb_core import types as t
from bb_core.types import Dim, Type, meet

Types = list[Type]
Relation = Callable[[Types, Types], tuple[Types, Types]]


class Conflict(Exception):  # never leaves the solver
    """Two types that one value should have, and cannot."""

    def __init__(self, a: Type, b: Type) -> None:
        super().__init__(f"{a} and {b}")
        self.pair = (a, b)


def both(a: Type, b: Type) -> Type:
    """Return what is known of a value that is of both types."""
    found = meet(a, b)
    if found is None:
        raise Conflict(a, b)
    return found


def same_type(ins: Types, outs: Types) -> tuple[Types, Types]:
    """All ports have one type, shape included."""
    found = t.ANY
    for type_ in (*ins, *outs):
        found = both(found, type_)
    return [found] * len(ins), [found] * len(outs)


def same_elem(ins: Types, outs: Types) -> tuple[Types, Types]:
    """All ports are tensors of one element type; their shapes are their own."""
    elem = t.TENSOR
    for type_ in (*ins, *outs):
        elem = both(elem, type_.bare)
    return [both(i, elem) for i in ins], [both(o, elem) for o in outs]


def elementwise(ins: Types, outs: Types) -> tuple[Types, Types]:
    """One tensor in, one out of the same elements and shape."""
    return same_type(*same_elem(ins, outs))


def broadcast(ins: Types, outs: Types) -> tuple[Types, Types]:
    """Elements alike; the output's shape is that of the inputs, broadcast as numpy does."""
    ins, outs = same_elem(ins, outs)
    shapes = [i.shape for i in ins]
    if any(s is None for s in shapes):
        return ins, outs
    shape = _broadcast([s for s in shapes if s is not None], ins)
    return ins, [both(o, o.bare[shape]) for o in outs]


def _broadcast(shapes: Sequence[tuple[Dim, ...]], ins: Types) -> tuple[Dim, ...]:
    rank = max(len(s) for s in shapes)
    found: list[Dim] = []
    for axis in range(-rank, 0):
        dims = [s[axis] for s in shapes if len(s) >= -axis]
        sizes = {d for d in dims if isinstance(d, int) and d != 1}
        if len(sizes) > 1:
            raise Conflict(ins[0], ins[-1])
        named = [d for d in dims if not isinstance(d, int)]
        found.append(sizes.pop() if sizes else named[0] if named and len(set(named)) == 1 else None if named else 1)
    return tuple(found)


def matmul(ins: Types, outs: Types) -> tuple[Types, Types]:
    """(..., m, k) by (..., k, n) gives (..., m, n); elements alike."""
    ins, outs = same_elem(ins, outs)
    a, b = ins[0].shape, ins[1].shape
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return ins, outs
    if isinstance(a[-1], int) and isinstance(b[-2], int) and a[-1] != b[-2]:
        raise Conflict(ins[0], ins[1])
    shape = (*_broadcast([a[:-2], b[:-2]], ins), a[-2], b[-1])
    return ins, [both(o, o.bare[shape]) for o in outs]


def reduce(ins: Types, outs: Types) -> tuple[Types, Types]:
    """Elements alike; which axes go is an attribute's to say, so shapes are left alone."""
    return same_elem(ins, outs)


RELATIONS: Final[dict[str, Relation]] = {
    f.__name__: f for f in (same_type, same_elem, elementwise, broadcast, matmul, reduce)
}


@cache
def relation(name: str) -> Relation | None:
    """Return a relation by name, or a plugin's by `"module:function"`; None if there is none."""
    if ":" not in name:
        return RELATIONS.get(name)
    module, _, attribute = name.partition(":")
    try:
        found: Relation = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        return None
    return found
