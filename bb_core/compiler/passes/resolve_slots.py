"""Pass 9."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from bb_core import keys
from bb_core.compiler.state import Bound, State, slots_touched
from bb_core.configs import make_config
from bb_core.errors import (
    BBError,
    CompileError,
    DependencyCycle,
    MissingCapability,
    RoleMismatch,
    UnboundDependency,
    UnboundSlot,
    UnknownSlot,
    UnknownTarget,
    did_you_mean,
)
from bb_core.ir.naming import target_of
from bb_core.ir.proto import data_inputs, metadata, source_of, value_types, with_bodies
from bb_core.ops.spec import OpSpec
from bb_core.ops.table import find_spec
from bb_core.registry import Use, check_class, enclosing, name_of
from bb_core.roles.backend import Backend
from bb_core.roles.contract import Role, implements, roles_of
from bb_core.roles.model import Model
from bb_core.roles.protocol import protocol_of
from bb_core.types import Type


def resolve_slots(model: onnx.ModelProto, state: State) -> None:
    """Bind a Concrete to every slot that the wanted targets use, and check that it can do what the program asks of it.

    Needs: partitions. Leaves: bindings, with the dependencies of each Concrete. Fails with: UnboundSlot, UnknownSlot,
    RoleMismatch, MissingCapability, UnboundDependency, DependencyCycle, ConfigError, UnknownTarget.
    """
    targets = _targets(model, state)
    roles = state.roles
    wanted = {s for f in model.functions if target_of(f.name) in targets for n in f.node for s in slots_touched(n)}
    for path in sorted(roles):
        _bind(path, roles[path], path in wanted, model, state)
    _bind_dependencies(model, state)
    _check_cycles(state)
    if state.options.determinism:
        _check_determinism(model, state)
    known = set(state.bound)
    for path in sorted(set(state.given) - known):
        state.add(UnknownSlot(f"the program has no slot {path!r}", hint=did_you_mean(path, known)))
    for path in sorted(state.late - known):
        state.add(
            UnknownSlot(f"late= names {path!r}, and the program has no such slot", hint=did_you_mean(path, known))
        )
    for function in model.functions:
        types = value_types(function)
        for node in function.node:
            _check_capability(node, state, types)


def _targets(model: onnx.ModelProto, state: State) -> set[str]:
    names = dict.fromkeys(target_of(f.name) for f in model.functions)
    for target in state.targets or ():
        if target not in names:
            state.add(UnknownTarget(f"the program has no target {target!r}", hint=did_you_mean(target, names)))
    return set(names if state.targets is None else state.targets)


def _bind(path: str, role: str, wanted: bool, model: onnx.ModelProto, state: State) -> None:
    given = state.binding(path)
    if given is None:
        if wanted and path not in state.late:
            state.add(
                UnboundSlot(
                    f"the {role} slot {path!r} has no Concrete",
                    where=_first_use(model, path),
                    hint=f"bind one: Compiler().bind({{{path!r}: ...}}); known: {_fitting(role, state)}",
                )
            )
        state.bound[path] = Bound(role)
        return
    state.bound[path] = _bound(path, role, given, state)


def _bound(path: str, role: str, given: Use, state: State) -> Bound:
    try:
        cls = state.plugins.resolve(given.concrete) if isinstance(given.concrete, str) else given.concrete
        check_class(cls)
        name = given.concrete if isinstance(given.concrete, str) else name_of(cls)
    except BBError as error:
        state.add(_as_compile_error(error, path))
        return Bound(role)
    config = None
    try:
        config = None if given.config is None else make_config(cls, given.config, path)
    except BBError as error:
        state.add(_as_compile_error(error, path))  # and go on, for what the Concrete depends on
    fulfilled = [r.role for r in roles_of(cls)]
    if role not in fulfilled:
        state.add(
            RoleMismatch(
                f"{cls.__name__} was bound to the {role} slot {path!r}",
                expected=f"a Concrete of Role {role}",
                hint=f"{cls.__name__} is of Role {', '.join(fulfilled)}; known {role}s: {_fitting(role, state)}",
            )
        )
        return Bound(role)
    return Bound(role, cls, name, config)


def _as_compile_error(error: BBError, path: str) -> CompileError:
    if isinstance(error, CompileError):
        return error
    wrapped = UnboundSlot(f"the slot {path!r} cannot be bound: {error.message}", where=error.where, hint=error.hint)
    wrapped.__cause__ = error
    return wrapped


def _bind_dependencies(model: onnx.ModelProto, state: State) -> None:
    """Find the slot that serves each dependency: the name itself, nearest enclosing scope first."""
    queue = sorted(state.bound)
    for path in queue:
        bound = state.bound[path]
        for role, name in bound.concrete.dependencies if bound.concrete else ():
            found = next((p for p in enclosing(path, name) if p in state.given or p in state.bound), None)
            if found is not None and found not in state.bound:
                state.bound[found] = _bound(found, role, state.given[found], state)
                queue.append(found)
            if found is None and not any(p in state.late for p in enclosing(path, name)):
                state.add(
                    UnboundDependency(
                        f"{_title(bound.concrete)} in slot {path!r} needs a {role} as {name!r}",
                        where=_first_use(model, path),
                        hint=f"bind one: Compiler().bind({{{name!r}: ...}}); known: {_fitting(role, state)}",
                    )
                )
            elif found is None:
                late = next(p for p in enclosing(path, name) if p in state.late)
                state.bound[late] = Bound(role)
                bound.dependencies[name] = late
            else:
                if state.bound[found].role != role:
                    state.add(
                        UnboundDependency(
                            f"{_title(bound.concrete)} in slot {path!r} needs a {role} as {name!r}",
                            expected=f"{found!r} to be a {role}; it is a {state.bound[found].role}",
                        )
                    )
                bound.dependencies[name] = found


def _check_cycles(state: State) -> None:
    """Refuse Concretes that need one another: neither could be used first."""
    done: set[str] = set()
    for start in sorted(state.bound):
        trail: list[str] = []
        _walk(start, trail, done, state)


def _walk(path: str, trail: list[str], done: set[str], state: State) -> None:
    if path in trail:
        ring = [*trail[trail.index(path) :], path]
        state.add(
            DependencyCycle(
                f"these slots depend on one another: {' -> '.join(ring)}",
                hint="bind another Concrete to one of them, or let it take the value as an input",
            )
        )
        done.update(ring)
    if path in done or path not in state.bound:
        return
    trail.append(path)
    for needed in state.bound[path].dependencies.values():
        _walk(needed, trail, done, state)
    done.add(trail.pop())


def _check_determinism(model: onnx.ModelProto, state: State) -> None:
    for path, bound in sorted(state.bound.items()):
        cls = bound.concrete
        if cls is not None and issubclass(cls, Model) and not cls.capabilities(bound.config).deterministic:
            state.add(
                MissingCapability(
                    f"{cls.__name__} may give other bytes for equal seeds (deterministic is False)",
                    where=_first_use(model, path),
                    hint=f"bind another Model to {path!r}, configure it otherwise, or compile without with_determinism",
                )
            )


def _check_capability(node: onnx.NodeProto, state: State, types: Mapping[str, Type]) -> None:
    path = metadata(node).get(keys.SLOT)
    bound = state.bound.get(path) if path else None
    if bound is None or bound.concrete is None:
        return
    if node.domain == keys.ONNX:
        for inner in with_bodies(node):
            if issubclass(bound.concrete, Backend) and inner.op_type not in bound.concrete.ops | {"Constant"}:
                state.add(
                    MissingCapability(
                        f"{bound.concrete.__name__} has no kernel for {inner.op_type}",
                        where=source_of(inner),
                        hint=f"it has: {', '.join(sorted(bound.concrete.ops))}",
                    )
                )
        return
    spec = find_spec(node.domain, node.op_type)
    contract = protocol_of(node.domain)
    if contract is not None and not issubclass(bound.concrete, contract):
        state.add(
            RoleMismatch(
                f"{bound.concrete.__name__} does not speak the protocol {contract.protocol!r}",
                where=source_of(node),
                expected=f"a subclass of {contract.__name__} in the slot {path!r}",
            )
        )
        return
    if spec is not None and spec.method and not implements(bound.concrete, spec.method):
        state.add(
            MissingCapability(
                f"{bound.concrete.__name__} does not implement {spec.method}",
                where=source_of(node),
                hint=f"bind another {bound.role} to {path!r}, or implement the method",
            )
        )
    elif spec is not None and spec.method:
        _ask(node, spec, bound, state, types)


def _ask(node: onnx.NodeProto, spec: OpSpec, bound: Bound, state: State, types: Mapping[str, Type]) -> None:
    """Ask a Concrete whether it can do an op as it is configured."""
    given = zip((p.name for p in spec.inputs), data_inputs(node), strict=False)
    assert bound.concrete is not None
    why = bound.concrete.cannot(
        spec.method, bound.config, {port: types[value] for port, value in given if value in types}
    )
    if why:
        state.add(
            MissingCapability(
                f"{bound.concrete.__name__} cannot do {spec.method}: {why}",
                where=source_of(node),
                hint=f"bind another {bound.role} to {metadata(node)[keys.SLOT]!r}, or configure it otherwise",
            )
        )


def _first_use(model: onnx.ModelProto, path: str) -> str:
    return next((source_of(n) for f in model.functions for n in f.node if path in slots_touched(n)), "")


def _fitting(role: str, state: State) -> str:
    return ", ".join(e.name for e in state.plugins.registry if e.role == role) or "none installed"


def _title(concrete: type[Role] | None) -> str:
    return concrete.__name__ if concrete else "a late Concrete"
