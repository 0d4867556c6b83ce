"""`bb.syscalls`: what a program asks of its Node, as recorder functions.

Each is made from its op's declaration in `bb_core.ops`: inputs by position or by name, attributes by keyword, `after=`
wherever there is something to wait for. `bb.syscalls.after(g, trigger, delay="5s")` returns the op's output, or a tuple
of several. Related ones stand together: `limit.acquire`, `hold.stash`, `serialize.enqueue`, `address_book.lookup`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bb_core.dsl.graph import After, Graph
from bb_core.dsl.names import snake
from bb_core.dsl.output import Output
from bb_core.dsl.source import caller_line
from bb_core.errors import UnknownPort, UnknownRecorder, did_you_mean
from bb_core.ops.framework import FRAMEWORK_OPS
from bb_core.ops.spec import OpSpec
from bb_core.ops.table import declared_domains, declared_in
from bb_core.plugins import installed_plugins


class Family:
    """Recorder functions that belong together, such as `limit.acquire` and `limit.release`."""

    def __init__(self, name: str, members: dict[str, Callable[..., Any]]) -> None:
        self._title = f"bb.syscalls.{name}"
        self._members = members

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found = self._members.get(name)
        if found is None:
            raise _unknown(self._title, name, self._members)
        return found

    def __dir__(self) -> list[str]:
        return list(self._members)


def recorder(spec: OpSpec) -> Callable[..., Any]:
    """Make the function that records an op."""

    def record(g: Graph, *args: Any, after: After = None, **named: Any) -> Any:
        if spec.source and after is not None:
            raise UnknownPort(
                f"{spec.name} begins a Frame of its own, and waits for nothing",
                where=caller_line(),
                hint="put after= on what reads it",
            )
        given = _by_name(spec, args, named)
        fanout = given.get("fanout", _default(spec, "fanout"))
        types = None
        if spec.outputs and spec.outputs[-1].variadic:
            first = given.get(spec.inputs[0].name)
            types = [g.check(first).type] * int(fanout) if first is not None else None
        outs = g.record(spec, given, after=after, types=types)
        return outs[0] if len(outs) == 1 else outs

    record.__name__ = (spec.record or snake(spec.name)).rpartition(".")[2]
    record.__qualname__ = spec.record or snake(spec.name)
    record.__doc__ = f"{spec.signature()}\n\n{spec.doc}"
    return record


class Opset(Family):
    """The ops that plugins, or this process, declare in a domain."""

    def __init__(self, domain: str) -> None:
        installed_plugins()
        members = {spec.record or snake(spec.name): recorder(spec) for spec in declared_in(domain)}
        if not members:
            raise UnknownPort(
                f"nobody declares ops in the domain {domain!r}",
                where=caller_line(),
                hint=did_you_mean(domain, declared_domains()),
            )
        super().__init__(domain, members)
        self._title = f"the opset {domain}"


opset = Opset
"""`bb.opset("acme.ops").scale(g, x)`: the recorder functions of a domain."""


def _default(spec: OpSpec, name: str) -> Any:
    return next((a.default for a in spec.attributes if a.name == name), None)


def _by_name(spec: OpSpec, args: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
    ports = spec.inputs
    given: dict[str, Any] = {}
    if ports and ports[-1].variadic:
        fixed = len(ports) - 1
        given = dict(zip((p.name for p in ports[:fixed]), args, strict=False))
        rest: Sequence[Any] = args[fixed:]
        if len(rest) == 1 and not isinstance(rest[0], Output) and isinstance(rest[0], list | tuple):
            rest = rest[0]
        if rest:
            given[ports[-1].name] = tuple(rest)
    elif len(args) > len(ports):
        raise UnknownPort(
            f"{spec.name} takes {len(ports)} inputs, {len(args)} were given",
            where=caller_line(),
            expected=spec.signature(),
            hint="attributes are given by keyword",
        )
    else:
        given = dict(zip((p.name for p in ports), args, strict=False))
    for name, value in named.items():
        if name in given:
            raise UnknownPort(f"{spec.name} was given {name!r} twice", where=caller_line())
        given[name] = value
    return given


def _unknown(where: str, name: str, known: Iterable[str]) -> AttributeError:
    if name.startswith("__"):
        return AttributeError(name)
    return UnknownRecorder(f"{where} has no {name!r}", where=caller_line(), hint=did_you_mean(name, known))


def _build() -> dict[str, Any]:
    found: dict[str, Any] = {}
    families: dict[str, dict[str, Callable[..., Any]]] = {}
    for spec in FRAMEWORK_OPS:
        family, _, name = spec.record.rpartition(".")
        if not spec.record:
            continue
        if family:
            families.setdefault(family, {})[name] = recorder(spec)
        else:
            found[name] = recorder(spec)
    return found | {name: Family(name, members) for name, members in families.items()}


_members = _build()


def __getattr__(name: str) -> Any:
    found = _members.get(name)
    if found is None:
        raise _unknown("bb.syscalls", name, _members)
    return found


def __dir__() -> list[str]:
    return sorted(_members)
