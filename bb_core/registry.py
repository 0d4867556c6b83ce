"""Which Concretes there are, by stable name; and the decorators by which a class becomes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeVar
from weakref import WeakSet

import msgspec

from bb_core.errors import DuplicateRegistration, InvalidConcrete, PluginLoadError, UnknownConcrete, did_you_mean
from bb_core.ops.spec import OpSpec
from bb_core.roles.contract import Role, roles_of, specs_of
from bb_core.roles.protocol import Protocol, inbound_of
from bb_core.types import ANY, Type, declare
from bb_core.wire.wire_types import register

C = TypeVar("C", bound=type[Role])

_declared: dict[str, type[Role]] = {}
"""Classes declared with `@concrete` in this process; a program may bind them without a plugin."""

_checked: WeakSet[type] = WeakSet()
"""Classes that a program can use."""


def concrete(name: str) -> Callable[[C], C]:
    """Give a Concrete the stable name that artefacts carry, and check it against its Roles.

    Args:
        name: `package.Name`; unique among all installed packages.

    Raises:
        InvalidConcrete: no Role among the bases, or a method whose parameters differ from its Role's.
        DuplicateRegistration: another class of this process has the name.
    """

    def declare(cls: C) -> C:
        check_class(cls)
        other = _declared.get(name)
        if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise DuplicateRegistration(
                f"the name {name!r} is declared by two classes",
                where=f"{other.__module__}.{other.__qualname__} and {cls.__module__}.{cls.__qualname__}",
            )
        cls.__bb_name__ = name
        _declared[name] = cls
        return cls

    return declare


def depends(**slots: str) -> Callable[[C], C]:
    """State which slots a Concrete reaches by `ctx.dependency`: `@depends(backend="compute")`, Role then slot."""

    def declare(cls: C) -> C:
        cls.dependencies = tuple(sorted(slots.items()))
        return cls

    return declare


def enclosing(path: str, name: str) -> Iterator[str]:
    """Where the slot that serves a dependency may stand: the nearest enclosing scope of `path` first."""
    scope = path.split(".")[:-1]
    while scope:
        yield ".".join([*scope, name])
        scope.pop()
    yield name


def check_class(cls: type) -> None:
    """Refuse a class that no program could use."""
    if cls in _checked:  # thousands of Nodes of a process resolve it
        return
    roles = roles_of(cls)
    if not roles:
        raise InvalidConcrete(
            f"{cls.__name__} is no Concrete: it has no Role among its bases",
            hint=f"write `class {cls.__name__}(bb.roles.Aggregator):`, or another of the eight Roles",
        )
    contracts = [c for c in cls.__mro__ if issubclass(c, Protocol) and vars(c).get("protocol")]
    for contract in (*roles, *contracts):
        for method_name in specs_of(contract):
            _check_method(cls, contract, method_name)
    inbound_of(cls)
    _checked.add(cls)


def _check_method(cls: type, role: type[Role], method_name: str) -> None:
    ours, theirs = getattr(cls, method_name), getattr(role, method_name)
    if ours is theirs:
        return
    given = list(inspect.signature(ours).parameters)
    wanted = list(inspect.signature(theirs).parameters)
    if given != wanted:
        raise InvalidConcrete(
            f"{cls.__name__}.{method_name} takes ({', '.join(given[1:])})",
            expected=f"({', '.join(wanted[1:])}), as {role.__name__}.{method_name} declares",
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered Concrete: where it is, what it fulfils, who registered it."""

    name: str
    target: str
    role: str
    owner: str


@dataclass(slots=True)
class Registry:
    """Concretes by stable name. Plugins fill it; it is then frozen for the life of the process."""

    owner: str = ""
    _entries: dict[str, Entry] = field(default_factory=dict)

    def add(self, name: str, target: str, *, role: str) -> None:
        """Register a Concrete without importing it.

        Args:
            name: Stable name, beginning with the package's.
            target: `"module:Class"`.
            role: Role name, such as `"aggregator"`.
        """
        other = self._entries.get(name)
        if other is not None:
            raise DuplicateRegistration(
                f"the Concrete {name!r} is registered twice",
                where=f"{other.owner} and {self.owner}",
                hint="uninstall one of the two, or name it in BB_DISABLE_PLUGINS",
            )
        if ":" not in target:
            raise InvalidConcrete(f"the target of {name!r} is {target!r}", expected='"module:Class"')
        self._entries[name] = Entry(name, target, role, self.owner)

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda e: e.name))

    def find(self, name: str) -> Entry | None:
        """Return the entry of a name, or None."""
        return self._entries.get(name)

    def take(self, other: Registry) -> None:
        """Add all of another registry's entries, or none."""
        for entry in other:
            if entry.name in self._entries:
                first = self._entries[entry.name]
                raise DuplicateRegistration(
                    f"the Concrete {entry.name!r} is registered twice",
                    where=f"{first.owner} and {entry.owner}",
                    hint="uninstall one of the two, or name it in BB_DISABLE_PLUGINS",
                )
        self._entries.update(other._entries)

    def resolve(self, name: str, failures: Mapping[str, str] = MappingProxyType({})) -> type[Role]:
        """Import and return the Concrete of a name.

        Raises:
            UnknownConcrete: nobody registers it; the message quotes plugins that failed to load.
            PluginLoadError: its module cannot be imported.
        """
        entry = self._entries.get(name)
        if entry is None:
            if name in _declared:
                return _declared[name]
            hint = did_you_mean(name, [*self._entries, *_declared])
            if failures:
                hint += "; plugins that failed: " + "; ".join(f"{k}: {v}" for k, v in sorted(failures.items()))
            raise UnknownConcrete(f"no plugin registers the Concrete {name!r}", hint=hint, name=name)
        cls = imported(entry.target, name, entry.owner)
        check_class(cls)
        return cls  # type: ignore[no-any-return]  # check_class has proved that it is a Role's subclass


@dataclass(slots=True)
class Suites:
    """Benchmark suites by name: modules of pytest-benchmark tests."""

    owner: str = ""
    modules: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, module: str) -> None:
        """Register a suite."""
        if name in self.modules:
            raise DuplicateRegistration(f"the benchmark suite {name!r} is registered twice", where=self.owner)
        self.modules[name] = module


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A registered compiler stage: where it is, which pass it follows, who registered it."""

    name: str
    target: str
    after: str
    owner: str


@dataclass(slots=True)
class Stages:
    """Compiler stages by name; a program takes part in one when its compiler is told so."""

    owner: str = ""
    _entries: dict[str, StageEntry] = field(default_factory=dict)

    def add(self, name: str, target: str, *, after: str = "type_solver") -> None:
        """Register a stage without importing it.

        Args:
            name: Stable name, beginning with the package's.
            target: `"module:function"`.
            after: Name of the pass that it follows unless a compiler says otherwise.
        """
        if ":" not in target:
            raise InvalidConcrete(f"the target of the stage {name!r} is {target!r}", expected='"module:function"')
        self.take([StageEntry(name, target, after, self.owner)])

    def take(self, others: Iterable[StageEntry]) -> None:
        """Add all of some entries, or none."""
        new = {entry.name: entry for entry in others}
        for name, entry in new.items():
            if name in self._entries:
                raise DuplicateRegistration(
                    f"the stage {name!r} is registered twice", where=f"{self._entries[name].owner} and {entry.owner}"
                )
        self._entries.update(new)

    def find(self, name: str) -> StageEntry | None:
        """Return the entry of a name, or None."""
        return self._entries.get(name)

    def __iter__(self) -> Iterator[StageEntry]:
        return iter(sorted(self._entries.values(), key=lambda e: e.name))


@dataclass(frozen=True, slots=True)
class TransportEntry:
    """A registered transport: where it is, which addresses it serves, who registered it."""

    name: str
    target: str
    protocols: tuple[str, ...]
    owner: str


_PLACES = frozenset({"ip4", "ip6", "dns", "dns4", "dns6", "p2p"})


@dataclass(slots=True)
class Transports:
    """Transports by the protocols of the addresses that they serve."""

    owner: str = ""
    _entries: dict[tuple[str, ...], TransportEntry] = field(default_factory=dict)

    def add(self, name: str, target: str, *, protocols: Iterable[str]) -> None:
        """Register a transport without importing it.

        Args:
            name: Stable name, beginning with the package's.
            target: `"module:Class"`.
            protocols: Names of an address's segments without its host and its peer, in order: `("tcp", "tls")`.
        """
        if ":" not in target:
            raise InvalidConcrete(f"the target of the transport {name!r} is {target!r}", expected='"module:Class"')
        self.take([TransportEntry(name, target, tuple(protocols), self.owner)])

    def take(self, others: Iterable[TransportEntry]) -> None:
        """Add all of some entries, or none."""
        new = list(others)
        self.check(new)
        self._entries.update({entry.protocols: entry for entry in new})

    def check(self, others: Iterable[TransportEntry]) -> None:
        """Refuse entries whose name or protocols are taken."""
        names = {entry.name: entry for entry in self}
        for entry in others:
            protocols = entry.protocols
            other = self._entries.get(protocols) or names.get(entry.name)
            if other is not None:
                raise DuplicateRegistration(
                    f"the transport {entry.name!r} for addresses with /{'/'.join(protocols)} is registered twice",
                    where=f"{other.owner} and {entry.owner}",
                    hint="uninstall one of the two, or name it in BB_DISABLE_PLUGINS",
                )

    def find(self, protocols: Iterable[str]) -> TransportEntry | None:
        """Return the entry that serves an address with these segments (`Address.protocols`), or None."""
        return self._entries.get(tuple(p for p in protocols if p not in _PLACES))

    def resolve(self, entry: TransportEntry) -> Any:
        """Import and return the class of an entry.

        Raises:
            PluginLoadError: its module cannot be imported.
        """
        return imported(entry.target, entry.name, entry.owner)

    def __iter__(self) -> Iterator[TransportEntry]:
        return iter(sorted(self._entries.values(), key=lambda e: e.name))


@dataclass(frozen=True, slots=True)
class GradientEntry:
    """A registered gradient rule: of which op, where it is, who registered it."""

    op: str
    domain: str
    target: str
    owner: str

    @property
    def name(self) -> str:
        """The op, with its domain if it is not ONNX's own."""
        return f"{self.domain}.{self.op}" if self.domain else self.op


@dataclass(slots=True)
class Gradients:
    """Gradient rules by op."""

    owner: str = ""
    _entries: dict[tuple[str, str], GradientEntry] = field(default_factory=dict)

    def add(self, op: str, target: str, *, domain: str = "") -> None:
        """Register the rule of an op without importing it.

        Args:
            op: Name of the op.
            target: `"module:function"`, or `"module:table"`, where a table has rules by op.
            domain: Of the op; empty for ONNX's own. In it, the op is a function of the models that call it.
        """
        if ":" not in target:
            raise InvalidConcrete(f"the gradient rule of {op!r} is {target!r}", expected='"module:function"')
        self.take([GradientEntry(op, "" if domain == "ai.onnx" else domain, target, self.owner)])

    def take(self, others: Iterable[GradientEntry]) -> None:
        """Add all of some entries, or none."""
        new = list(others)
        self.check(new)
        self._entries.update({(entry.domain, entry.op): entry for entry in new})

    def check(self, others: Iterable[GradientEntry]) -> None:
        """Refuse rules of ops that have one."""
        for entry in others:
            other = self._entries.get((entry.domain, entry.op))
            if other is not None:
                raise DuplicateRegistration(
                    f"the gradient rule of {entry.name!r} is registered twice",
                    where=f"{other.owner} and {entry.owner}",
                    hint="uninstall one of the two, or name it in BB_DISABLE_PLUGINS",
                )

    def find(self, op: str, domain: str = "") -> GradientEntry | None:
        """Return the entry of an op, or None."""
        return self._entries.get((domain, op))

    def resolve(self, entry: GradientEntry) -> Callable[..., Any]:
        """Import and return the rule of an entry.

        Raises:
            PluginLoadError: its module cannot be imported, or has no such rule.
        """
        found = imported(entry.target, entry.name, entry.owner)
        rule: Callable[..., Any] | None = found.get(entry.op) if isinstance(found, Mapping) else found
        if not callable(rule):
            raise PluginLoadError(
                f"{entry.owner} registers the gradient rule of {entry.name!r} as {entry.target}, which is none",
                expected="a function (tape, node, grads), or a table of such by op",
            )
        return rule

    def __iter__(self) -> Iterator[GradientEntry]:
        return iter(sorted(self._entries.values(), key=lambda e: (e.domain, e.op)))


@dataclass(frozen=True, slots=True)
class RecipeEntry:
    """A registered recipe: where it is, what fills its slots unless the user says otherwise, who registered it."""

    name: str
    target: str
    bindings: Mapping[str, str]
    owner: str


@dataclass(slots=True)
class Recipes:
    """Ready-made programs by name."""

    owner: str = ""
    _entries: dict[str, RecipeEntry] = field(default_factory=dict)

    def add(self, name: str, target: str, *, bindings: Mapping[str, str] = MappingProxyType({})) -> None:
        """Register a recipe without importing it.

        Args:
            name: What users call it, after `recipe:`.
            target: `"module:Class"` of a Module whose arguments all have defaults.
            bindings: Stable names of Concretes by slot, for slots that the user does not bind.
        """
        if ":" not in target:
            raise InvalidConcrete(f"the target of the recipe {name!r} is {target!r}", expected='"module:Class"')
        self.take([RecipeEntry(name, target, dict(bindings), self.owner)])

    def take(self, others: Iterable[RecipeEntry]) -> None:
        """Add all of some entries, or none."""
        new = list(others)
        self.check(new)
        self._entries.update({entry.name: entry for entry in new})

    def check(self, others: Iterable[RecipeEntry]) -> None:
        """Refuse names that are taken."""
        for entry in others:
            other = self._entries.get(entry.name)
            if other is not None:
                raise DuplicateRegistration(
                    f"the recipe {entry.name!r} is registered twice",
                    where=f"{other.owner} and {entry.owner}",
                    hint="uninstall one of the two, or name it in BB_DISABLE_PLUGINS",
                )

    def find(self, name: str) -> RecipeEntry | None:
        """Return the entry of a name, or None."""
        return self._entries.get(name)

    def resolve(self, entry: RecipeEntry) -> Any:
        """Import and return the Module class of an entry.

        Raises:
            PluginLoadError: its module cannot be imported.
        """
        return imported(entry.target, entry.name, entry.owner)

    def __iter__(self) -> Iterator[RecipeEntry]:
        return iter(sorted(self._entries.values(), key=lambda e: e.name))


def imported(target: str, name: str, owner: str) -> Any:
    """Import what a plugin has registered as `"module:attribute"`.

    Raises:
        PluginLoadError: it cannot be imported.
    """
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module_name), attribute)
    except Exception as error:
        raise PluginLoadError(
            f"{owner} registers {name!r} as {target}, which cannot be imported",
            hint=f"{type(error).__name__}: {error}",
        ) from error


@dataclass(frozen=True, slots=True)
class TypeEntry:
    """A type that a plugin declares, and how its values travel; without `encode` they cannot."""

    name: str
    parent: Type
    python_class: type | None
    encode: Callable[[Any], Any] | None
    decode: Callable[[memoryview], Any] | None
    owner: str


@dataclass(slots=True)
class Types:
    """Types that a plugin adds to the lattice."""

    owner: str = ""
    entries: list[TypeEntry] = field(default_factory=list)

    def declare(
        self,
        name: str,
        *,
        parent: Type = ANY,
        python_class: type | None = None,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[memoryview], Any] | None = None,
    ) -> None:
        """Declare a type; with both functions its values can cross the network (`bb_core.wire.wire_types.register`)."""
        if (encode is None) != (decode is None) or (encode is not None and python_class is None):
            raise InvalidConcrete(
                f"the type {name!r} is given half of what travelling takes",
                expected="python_class, encode and decode, or none of the two functions",
            )
        self.entries.append(TypeEntry(name, parent, python_class, encode, decode, self.owner))

    def apply(self) -> None:
        """Put the types into the lattice and the wire registry."""
        for e in self.entries:
            declare(e.name, parent=e.parent, python_class=e.python_class, owner=e.owner)
            if e.encode is not None and e.decode is not None and e.python_class is not None:
                register(e.name, e.python_class, e.encode, e.decode)


@dataclass(frozen=True, slots=True)
class RoleEntry:
    """A Role that a plugin adds, and the module of its checks; empty when it has none of its own."""

    role: type[Role]
    checks: str
    owner: str


@dataclass(slots=True)
class Roles:
    """Roles that a plugin adds beside the eight."""

    owner: str = ""
    entries: list[RoleEntry] = field(default_factory=list)

    def add(self, role: type[Role], *, checks: str = "") -> None:
        """Add a Role.

        Args:
            role: A subclass of `bb.roles.Role` with a `role` name and ops.
            checks: Module of its conformance checks; imported by the kit alone.
        """
        self.entries.append(RoleEntry(role, checks, self.owner))


@dataclass(slots=True)
class Ops:
    """Ops that a plugin declares in domains of its own."""

    owner: str = ""
    specs: list[OpSpec] = field(default_factory=list)

    def add(self, spec: OpSpec) -> None:
        """Declare an op; its `call` names what runs it, which is imported when a program with it is installed."""
        self.specs.append(spec)


def name_of(cls: type) -> str:
    """Return a Concrete's stable name."""
    name = vars(cls).get("__bb_name__")
    if name is None:
        raise InvalidConcrete(
            f"{cls.__name__} has no stable name", hint=f'decorate it: @bb.concrete("mypackage.{cls.__name__}")'
        )
    return str(name)


@dataclass(frozen=True, slots=True)
class Use:
    """A Concrete with its configuration, to be bound to a slot. Made by `use`."""

    concrete: type[Role] | str
    config: Any = None


def use(concrete: type[Role] | str, /, **config: Any) -> Use:
    """Name a Concrete (the class, or its stable name) and its configuration: `use(FedAvg, quorum=3)`."""
    return Use(concrete, config or None)


def encode_use(pinned: Use) -> str:
    """Write a binding as text, for a program's metadata; its configuration must be plain data."""
    name = pinned.concrete if isinstance(pinned.concrete, str) else name_of(pinned.concrete)
    try:
        return msgspec.json.encode({"concrete": name, "config": pinned.config}, order="sorted").decode()
    except TypeError as error:
        raise InvalidConcrete(
            f"the configuration that a slot pins for {name} cannot stand in a program: {error}",
            expected="plain data",
            hint="pin the Concrete alone, and configure it when compiling or installing",
        ) from error


def decode_use(text: str) -> Use:
    """Read a binding from a program's metadata."""
    found = msgspec.json.decode(text)
    return Use(found["concrete"], found["config"])
