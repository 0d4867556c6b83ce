"""How a Role is declared: a class whose methods are ops, and whose annotations are the ports.

Theory of operation. A Role is a subclass of `Role` with a `role` name. Each of its methods that is an op carries
`@op(...)`. From the signature comes the `OpSpec`:

* the first parameter after `self` is `ctx`;
* positional parameters are input ports, `X | None = None` makes one optional;
* a parameter annotated with a Role is a slot given as an argument;
* keyword-only parameters are attributes, fixed when the op is recorded;
* the return annotation gives the output ports; `-> None` gives one Trigger, so that every op can be waited for.

A Concrete subclasses one Role or several, overrides the methods that it can do, and is checked against these specs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from bb_core import keys
from bb_core import types as t
from bb_core.errors import InvalidConcrete, SnapshotUnsupported
from bb_core.ids import PeerId
from bb_core.ops.spec import REQUIRED, Answer, Attribute, OpSpec, Port, SlotPort
from bb_core.roles.context import State
from bb_core.types import Type
from bb_core.values import PeerList, Record, RequestId, Tensor, Trigger

Count = Annotated[int, t.i64[()]]
"""An input port that takes a whole number; the recorder also takes a Python int."""
Duration = Annotated[int, t.DURATION]
"""An input port of nanoseconds; the recorder also takes text such as `"30s"`."""


@dataclass(frozen=True, slots=True)
class AtLeast:
    """In `Annotated[int, AtLeast(1)]`: smaller values of the attribute are refused while recording."""

    minimum: int


Positive = Annotated[int, AtLeast(1)]
"""An attribute that is a whole number above zero."""

F = TypeVar("F", bound=Callable[..., Any])


def op(
    name: str,
    *,
    outputs: str = "done",
    answer: Answer = Answer.LATER,
    version: int = 1,
    relations: Iterable[str] = (),
) -> Callable[[F], F]:
    """Mark a method of a Role as an op.

    Args:
        name: ONNX op type.
        outputs: Names of the output ports, separated by spaces; as many as the return annotation has parts.
        answer: Whether it may answer later, or waits for other peers.
        version: Opset version that this op came with.
        relations: Names of type relations.
    """

    def mark(method: F) -> F:
        method.__bb_op__ = {  # type: ignore[attr-defined]
            "name": name,
            "outputs": tuple(outputs.split()),
            "answer": answer,
            "version": version,
            "relations": tuple(relations),
        }
        return method

    return mark


class Role:
    """Base of the Roles.

    Attributes:
        role: Snake-case name of the Role; its ops are in the domain `ai.bytesandbrains.role.<role>`.
        exclusive: A Frame holds this slot from its first op on it to its last, so that two Frames never mix.
        stateful: Ops on one slot keep the order in which they were recorded.
        has_state: Whether there is something to keep that does not come from the configuration.
        dependencies: Slots that the Concrete reaches by `ctx.dependency`, from `@bb.depends`: (role, slot) pairs.
    """

    role: ClassVar[str] = ""
    exclusive: ClassVar[bool] = False
    stateful: ClassVar[bool] = True
    has_state: ClassVar[bool] = True
    dependencies: ClassVar[tuple[tuple[str, str], ...]] = ()
    __bb_name__: ClassVar[str]

    class Config:
        """A Concrete without options; override it with a frozen dataclass."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def snapshot(self) -> State:
        """Return what `restore` needs to make another instance of this configuration like this one.

        Fields hold None, bools, ints of 64 bits, floats, text, bytes, arrays, whatever could be sent, and lists and
        dicts of these; what they hold must not change afterwards. A Concrete that has more than its configuration
        overrides both methods.

        Raises:
            SnapshotUnsupported: it has, and does not.
        """
        more = sorted(vars(self).keys() - {"config"}) if self.has_state and hasattr(self, "__dict__") else []
        if more:
            raise SnapshotUnsupported(
                f"{type(self).__name__} holds {', '.join(more)} and has no `snapshot`",
                expected="`snapshot(self) -> bb.State` and `restore(self, state)`",
                hint="or `has_state: ClassVar[bool] = False`, when all of it comes from the configuration",
            )
        return {}

    def restore(self, state: State) -> None:
        """Become what a state holds; called once, on a new instance, before any op."""

    @classmethod
    def cannot(cls, method: str, config: Any, inputs: Mapping[str, Type]) -> str:
        """Say why a Concrete cannot do an op of its Role; empty if it can. Asked for each op that a program records.

        Args:
            method: The op's method.
            config: The Concrete's configuration; None when that is given only at install.
            inputs: Types of the inputs by port, as far as they are known.
        """
        return ""

    @classmethod
    def domain(cls) -> str:
        """ONNX domain of the Role's ops."""
        return keys.ROLE_PREFIX + cls.role


def declares_role(cls: type[Role]) -> bool:
    """Whether a class declares a Role (it sets `role` itself), rather than fulfilling one."""
    return bool(vars(cls).get("role"))


def roles_of(concrete: type) -> tuple[type[Role], ...]:
    """The Roles that a Concrete fulfils, from its bases."""
    return tuple(c for c in concrete.__mro__ if issubclass(c, Role) and declares_role(c))


_derived: dict[type[Role], dict[str, OpSpec]] = {}


def specs_of(role: type[Role]) -> dict[str, OpSpec]:
    """The OpSpecs of a Role by method name, in order of declaration."""
    if role not in _derived:
        _derived[role] = _derive_all(role)
    return _derived[role]


def _derive_all(role: type[Role]) -> dict[str, OpSpec]:
    specs = {}
    for method_name, method in vars(role).items():
        marks = getattr(method, "__bb_op__", None)
        if marks is not None:
            specs[method_name] = _derive(role, method_name, method, marks)
    return specs


def implements(concrete: type, method: str) -> bool:
    """Whether a Concrete overrides a method that its Role only declares."""
    found = getattr(concrete, method, None)
    return found is not None and not getattr(found, "__bb_abstract__", False)


def abstract(method: F) -> F:
    """Mark an op that a Concrete may leave out; a program that records it then does not compile for that Concrete."""
    method.__bb_abstract__ = True  # type: ignore[attr-defined]
    return method


def _derive(role: type[Role], method_name: str, method: Callable[..., Any], marks: dict[str, Any]) -> OpSpec:
    hints = get_type_hints(method, include_extras=True)
    inputs: list[Port] = []
    attributes: list[Attribute] = []
    slots: list[SlotPort] = []
    for parameter in list(inspect.signature(method).parameters.values())[2:]:
        hint, optional = _split_optional(hints[parameter.name])
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            default = REQUIRED if parameter.default is parameter.empty else parameter.default
            attributes.append(Attribute(parameter.name, _attribute_kind(hint), default, _minimum(hint)))
        elif isinstance(hint, type) and issubclass(hint, Role):
            if inputs:
                raise InvalidConcrete(
                    f"{role.__name__}.{method_name} takes the slot {parameter.name!r} after an input",
                    expected="slots first, then inputs: the recorder's positional order",
                )
            slots.append(SlotPort(parameter.name, hint.role))
        else:
            inputs.append(Port(parameter.name, type_of(hint), optional))
    returned = hints.get("return", NoneType)
    if returned is NoneType:
        outputs = [Port(marks["outputs"][0], t.TRIGGER)]
    else:
        parts = get_args(returned) if get_origin(returned) is tuple else (returned,)
        if len(parts) != len(marks["outputs"]):
            raise InvalidConcrete(
                f"{role.__name__}.{method_name} names {len(marks['outputs'])} outputs and returns {len(parts)} values"
            )
        outputs = [
            Port(name, type_of(_split_optional(part)[0]), _split_optional(part)[1])
            for name, part in zip(marks["outputs"], parts, strict=True)
        ]
    return OpSpec(
        role.domain(),
        marks["name"],
        marks["version"],
        tuple(inputs),
        tuple(outputs),
        tuple(attributes),
        tuple(slots),
        marks["answer"],
        role.stateful,
        method_name,
        relations=marks["relations"],
        doc=inspect.getdoc(method) or "",
    )


_narrowed: dict[tuple[type, str, str], OpSpec] = {}


def narrowed(concrete: type, method_name: str, spec: OpSpec) -> OpSpec:
    """Return a Role's op as a Concrete has it: with the types that its own annotations narrow the ports to.

    `params: Annotated[bb.Tensor, bb.f32["D"]]` says that this Model takes f32; what is annotated as the Role has it, or
    not at all, stays as it is.
    """
    key = (concrete, spec.domain, method_name)
    if key not in _narrowed:
        _narrowed[key] = _narrow(getattr(concrete, method_name, None), spec)
    return _narrowed[key]


def _narrow(method: Any, spec: OpSpec) -> OpSpec:
    if method is None or "return" not in getattr(method, "__annotations__", {}):
        return spec
    try:
        hints = get_type_hints(method, include_extras=True)
    except (NameError, TypeError):  # an annotation that only a type checker can resolve
        return spec
    returned = hints.pop("return")
    parts = get_args(returned) if get_origin(returned) is tuple else (returned,)
    inputs = tuple(replace(p, type=_narrower(p.type, hints.get(p.name))) for p in spec.inputs)
    outputs = spec.outputs
    if len(parts) == len(outputs):
        outputs = tuple(replace(p, type=_narrower(p.type, h)) for p, h in zip(outputs, parts, strict=True))
    return replace(spec, inputs=inputs, outputs=outputs)


def _narrower(declared: Type, hint: Any) -> Type:
    """The type of an annotation where it says more than the Role; a contradiction is the Concrete's mistake."""
    if hint is None:
        return declared
    try:
        own = type_of(_split_optional(hint)[0])
    except InvalidConcrete:
        return declared
    found = t.meet(declared, own)
    return declared if found is None else found


def _split_optional(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (Union, UnionType):
        rest = [a for a in get_args(hint) if a is not NoneType]
        return rest[0], len(rest) < len(get_args(hint))
    return hint, False


_BY_CLASS: dict[Any, Type] = {
    Tensor: t.TENSOR,
    Trigger: t.TRIGGER,
    Record: t.RECORD,
    PeerList: t.PEER_LIST,
    PeerId: t.PEER_ID,
    RequestId: t.REQUEST_ID,
    bytes: t.BYTES,
    Any: t.ANY,
}


def type_of(hint: Any) -> Type:
    """Map an annotation to the type of a port."""
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Type):
                return extra
        hint = get_args(hint)[0]
    found = _BY_CLASS.get(hint)
    if found is None:
        raise InvalidConcrete(
            f"the annotation {hint!r} is not the type of a port",
            expected="bb.Tensor, bb.Record, bb.PeerList, bb.PeerId, bb.Trigger, bytes, or Annotated[..., bb.f32[...]]",
        )
    return found


_KINDS: dict[Any, str] = {
    int: "int",
    float: "float",
    str: "str",
    bool: "bool",
    tuple[int, ...]: "ints",
    tuple[str, ...]: "strs",
}


def _minimum(hint: Any) -> int | None:
    """The smallest legal value of an attribute, from `Annotated[int, AtLeast(1)]`."""
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((e.minimum for e in extras if isinstance(e, AtLeast)), None)


def _attribute_kind(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return "duration" if t.DURATION in get_args(hint)[1:] else _attribute_kind(get_args(hint)[0])
    if hint not in _KINDS:
        raise InvalidConcrete(f"an attribute cannot be a {hint!r}", expected=", ".join(str(k) for k in _KINDS))
    return _KINDS[hint]
