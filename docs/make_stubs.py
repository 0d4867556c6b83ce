"""Makes the stubs that users' editors and mypy read: `bb_core/dsl/slots.pyi` and `bb_core/dsl/syscalls.pyi`."""

from __future__ import annotations

import builtins
import keyword
import re

import onnx
from onnx import defs

from bb_core.dsl.names import snake
from bb_core.ir.schemas import schema_of
from bb_core.ops.framework import FRAMEWORK_OPS
from bb_core.ops.spec import REQUIRED, OpSpec
from bb_core.roles import ROLES
from bb_core.roles.contract import specs_of

HEAD = "# Made by docs/make_stubs.py from the declarations of the ops: run `make docs` after a change of one.\n"
_KINDS = {
    "int": "int",
    "float": "float",
    "str": "str",
    "bool": "bool",
    "ints": "Sequence[int]",
    "strs": "Sequence[str]",
    "duration": "str | int",
}


def slots_stub() -> str:
    """Make the stub of the slots: a bound class for each Role, with a method for each of its ops."""
    lines = [HEAD + _SLOTS_HEAD]
    for role in ROLES.values():
        if role.role == "backend":
            continue
        lines += [f"class Bound{role.__name__}(BoundSlot):"]
        specs = specs_of(role)
        lines += [_method(name, spec) for name, spec in specs.items()]
        lines += [] if specs else ["    def __getattr__(self, name: str) -> Callable[..., Any]: ..."]
        lines += [""]
    lines += [_backend()]
    for role in ROLES.values():
        lines += [_slot(role.__name__)]
    return "\n".join(lines)


def syscalls_stub() -> str:
    """Make the stub of `bb.syscalls`."""
    lines = [HEAD + _SYSCALLS_HEAD]
    families: dict[str, list[OpSpec]] = {}
    for spec in FRAMEWORK_OPS:
        family, _, name = spec.record.rpartition(".")
        if family:
            families.setdefault(family, []).append(spec)
        elif name:
            ignored = "  # noqa: A001" if name in vars(builtins) else ""
            lines.append(_function(name, spec, "") + ignored)
    for family, specs in families.items():
        name = "_" + family.title().replace("_", "")
        lines += ["", f"class {name}(Family):"]
        lines += [_function(s.record.rpartition(".")[2], s, "    ") for s in specs]
        lines += ["", f"{family}: {name}"]
    return "\n".join(lines) + "\n"


def _function(name: str, spec: OpSpec, indent: str) -> str:
    own = "self, " if indent else ""
    inputs = _inputs(spec)
    star = [] if any(i.startswith("*") for i in inputs) else ["*"]
    given = ", ".join([*inputs, *star, *_attributes(spec), *([] if spec.source else [_AFTER])])
    return f"{indent}def {name}({own}g: Graph, {given}) -> {_returned(spec)}: ..."


def _method(name: str, spec: OpSpec) -> str:
    slots = [f"{s.name}: Bound{ROLES[s.role].__name__}" for s in spec.slots]
    given = ", ".join([*slots, *_inputs(spec), "*", *_attributes(spec), _AFTER])
    return f"    def {name}(self, g: Graph, {given}) -> {_returned(spec)}: ..."


def _inputs(spec: OpSpec) -> list[str]:
    found = []
    for port in spec.inputs:
        if port.variadic:
            found.append(f"*{port.name}: Value | Sequence[Value]")
        else:
            kind = "Value | str" if str(port.type) == "i64[]" and port.name == "deadline" else "Value"
            found.append(f"{port.name}: {kind} | None = ..." if port.optional else f"{port.name}: {kind}")
    return found


def _attributes(spec: OpSpec) -> list[str]:
    return [f"{a.name}: {_KINDS[a.kind]}{'' if a.default is REQUIRED else ' = ...'}" for a in spec.attributes]


def _returned(spec: OpSpec) -> str:
    if any(p.variadic for p in spec.outputs):
        return "tuple[Output, ...]"
    return "Output" if len(spec.outputs) == 1 else f"tuple[{', '.join(['Output'] * len(spec.outputs))}]"


_AFTER = "after: After = ..."


def _slot(name: str) -> str:
    extra = {"PeerSelector": "peer_class: str = ..., ", "Protocol": "protocol: type[r.Protocol], "}.get(name, "")
    attribute = "    peer_class: str\n" if name == "PeerSelector" else ""
    return f"""class {name}Slot(Slot):
{attribute}    def __init__(
        self, {extra}default: type[Role] | str | Use | None = ..., config: Any = ...
    ) -> None: ...
    @overload
    def __get__(self, module: None, owner: type) -> {name}Slot: ...
    @overload
    def __get__(self, module: Module, owner: type) -> Bound{name}{"Slot" if name == "Backend" else ""}: ...
"""


def _backend() -> str:
    lines = ["class BoundBackendSlot(BoundSlot):"]
    lines.append(
        "    def operator(self, g: Graph, op_type: str, operands: Sequence[Any], **attributes: Any) -> Output: ..."
    )
    names = sorted({s.name for s in defs.get_all_schemas() if s.domain == "" and not s.deprecated})
    taken = {"operator"}
    for op in names:
        schema = schema_of(op)
        if schema is None or schema.deprecated or op == "Constant":
            continue
        for name in dict.fromkeys([_safe(op.lower()), _safe(snake(op))]):
            if name not in taken:
                taken.add(name)
                lines.append(_onnx_method(name, schema))
    return "\n".join(lines) + "\n"


def _onnx_method(name: str, schema: onnx.defs.OpSchema) -> str:
    option = onnx.defs.OpSchema.FormalParameterOption
    inputs, used = [], set()
    variadic = False
    for formal in schema.inputs:
        own = re.sub(r"\W", "_", formal.name) or "x"
        own = f"{own}_" if keyword.iskeyword(own) or own in used or own in ("g", "self") else own
        used.add(own)
        if formal.option == option.Variadic:
            inputs.append(f"*{own}: Value | None")
            variadic = True
        else:
            optional = formal.option == option.Optional or any("= ..." in i for i in inputs)
            inputs.append(f"{own}: Value | None = ..." if optional else f"{own}: Value")
    many = len(schema.outputs) != 1 or schema.outputs[0].option == option.Variadic
    attributes = [f"{a}: Any{'' if d.required else ' = ...'}" for a, d in sorted(schema.attributes.items())]
    attributes = [a for a in attributes if a.partition(":")[0] not in used]
    fixed, rest = (inputs[:-1], inputs[-1:]) if variadic else (inputs, ["*"])
    tail = ["n_outputs: int = ..."] if many else []
    given = ", ".join([*fixed, "/", *rest, *attributes, *tail, _AFTER])
    return f"    def {name}(self, g: Graph, {given}) -> {'Any' if many else 'Output'}: ..."


def _safe(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


_SLOTS_HEAD = """
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, overload

import numpy as np

from bb_core import roles as r
from bb_core.dsl.graph import After, Graph
from bb_core.dsl.module import Module
from bb_core.dsl.output import Output
from bb_core.ops.spec import OpSpec
from bb_core.registry import Use
from bb_core.roles.contract import Role

Value = Output | bool | int | float | np.ndarray[Any, Any] | np.generic

class Slot:
    role: ClassVar[type[Role]]
    default: Use | None
    name: str
    contract: type[Role]
    def __init__(self, default: type[Role] | str | Use | None = ..., config: Any = ...) -> None: ...
    def __set_name__(self, owner: type, name: str) -> None: ...
    def bind(self, module: Module) -> BoundSlot: ...
    def extra(self, spec: OpSpec) -> dict[str, Any]: ...

class BoundSlot:
    slot: Slot
    module: Module
    def __init__(self, slot: Slot, module: Module) -> None: ...
    def path(self, g: Graph) -> str: ...

def slot_of(role: type[Role]) -> Any: ...
"""

_SYSCALLS_HEAD = """
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bb_core.dsl.graph import After, Graph
from bb_core.dsl.output import Output
from bb_core.ops.spec import OpSpec

Value = Output | bool | int | float | np.ndarray[Any, Any] | np.generic

class Family:
    def __init__(self, name: str, members: dict[str, Callable[..., Any]]) -> None: ...
    def __getattr__(self, name: str) -> Callable[..., Any]: ...

class Opset(Family):
    def __init__(self, domain: str) -> None: ...

def opset(domain: str) -> Opset: ...
def recorder(spec: OpSpec) -> Callable[..., Any]: ...
"""
