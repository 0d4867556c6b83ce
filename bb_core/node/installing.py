"""`install`: from an artefact to a Node, with every Concrete constructed and every op bound."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from bb_core import keys
from bb_core.configs import make_config
from bb_core.engine.engine import Engine
from bb_core.engine.program import Program, load_program
from bb_core.errors import (
    InstallError,
    MissingExtra,
    PluginError,
    RoleMismatch,
    UnboundDependency,
    UnboundSlot,
    UnknownSlot,
    UnknownTarget,
    UsageError,
    did_you_mean,
)
from bb_core.ids import PeerId
from bb_core.ir.naming import bootstrap_name
from bb_core.ir.proto import metadata
from bb_core.node.config import NodeConfig
from bb_core.node.node import Node
from bb_core.plugins import installed_plugins
from bb_core.registry import Use, enclosing
from bb_core.roles.contract import Role, roles_of
from bb_core.wire.address import Address, address_bytes
from bb_core.wire.carriers import encode_for_reference
from bb_core.wire.limits import WireLimits
from bb_core.wire.payloads import encode_value


def install(
    peer_id: PeerId,
    addresses: Sequence[Address | str | bytes],
    model: onnx.ModelProto | bytes,
    targets: Sequence[str],
    config: Mapping[str, Any] | None = None,
    options: NodeConfig | None = None,
) -> Node:
    """Bring up a Node.

    Args:
        peer_id: Who the Node is.
        addresses: Where it can be reached, such as `/ip4/10.0.0.7/tcp/4001/tls`; peers learn them from its Envelopes.
        model: What `Compiler.compile` returned, or its bytes.
        targets: Names of the functions that this Node hosts, such as `["Averaging@client"]`.
        config: By slot path, a configuration (dict or Config), which overrides the artefact's, or for a late slot
            `bb.use(Concrete, ...)`.
        options: Seed, limits and budgets.

    Raises:
        InstallError: the artefact is not compiled, was changed, or an op cannot be bound.
        AddressError, UsageError: an address is none, or there are more than an Envelope may name.
        UnknownTarget, UnknownSlot, UnboundSlot, ConfigError: with the legal names.
    """
    options = options or NodeConfig()
    installed_plugins()  # they may declare types that the artefact names
    try:
        proto = onnx.ModelProto.FromString(model) if isinstance(model, bytes) else model
    except DecodeError as error:
        raise InstallError("the artefact is no ONNX model", expected="what bb compile has written") from error
    try:
        return _install((peer_id, _claims(addresses, options.limits)), proto, targets, config, options)
    except (InstallError, PluginError) as error:
        absent = absent_plugins(proto)
        if absent:  # what is missing is theirs, most likely
            install = "pip install " + " ".join(p.replace(" ", "==") for p in absent)
            error.hint = f"{install}; {error.hint}" if error.hint else install
        raise


def absent_plugins(model: onnx.ModelProto) -> list[str]:
    """Return the plugins that an artefact was compiled with and that are not installed here: `distribution version`."""
    passport = json.loads(metadata(model).get(keys.PASSPORT, "{}"))
    here = {status.distribution for status in installed_plugins().statuses}
    return [plugin for plugin in passport.get("plugins", ()) if plugin.partition(" ")[0] not in here]


def _install(
    peer: tuple[PeerId, tuple[bytes, ...]],
    model: onnx.ModelProto,
    targets: Sequence[str],
    config: Mapping[str, Any] | None,
    options: NodeConfig,
) -> Node:
    program = load_program(model)
    if not targets:
        raise UnknownTarget("no target was named", expected=f"one or more of {sorted(program.functions)}")
    for target in targets:
        if target not in program.functions:
            raise UnknownTarget(f"the artefact has no target {target!r}", hint=did_you_mean(target, program.functions))
    given = dict(config or {})
    for path in given:
        if path not in program.bindings:
            raise UnknownSlot(f"config names the slot {path!r}", hint=did_you_mean(path, program.bindings))
    return Node(lambda: _engine(*peer, program, tuple(targets), given, options), targets, options)


def _claims(addresses: Sequence[Address | str | bytes], limits: WireLimits) -> tuple[bytes, ...]:
    """What every Envelope will say of where this Node is; a peer with the same limits must take it."""
    claims = tuple(map(address_bytes, addresses))
    if len(claims) > limits.src_addresses or any(len(raw) > limits.src_address_bytes for raw in claims):
        raise UsageError(
            f"a Node was given {len(claims)} addresses, the longest of {max(map(len, claims))} bytes",
            expected=f"at most {limits.src_addresses}, of {limits.src_address_bytes} bytes; see WireLimits",
        )
    return claims


def _engine(
    peer_id: PeerId,
    addresses: tuple[bytes, ...],
    program: Program,
    targets: tuple[str, ...],
    given: Mapping[str, Any],
    options: NodeConfig,
) -> Engine:
    """Construct the Concrete of each slot, and bind the targets' ops. Done again when a snapshot is restored."""
    engine = Engine(
        peer_id,
        addresses,
        program,
        *_components(program, targets, given),
        seed=options.seed,
        incarnation=options.incarnation,
        limits=options.limits,
        value_bytes=(options.ingress_bytes, options.max_value_bytes),
        encode_value=encode_for_reference if options.wire_profile == "reference" else encode_value,
        laters=options.laters,
        clock=options.profile,
    )
    for target in targets:
        engine.install(target)
    engine.control.expose()
    return engine


def _components(
    program: Program, targets: Sequence[str], given: Mapping[str, Any]
) -> tuple[dict[str, Role], dict[str, dict[str, str]]]:
    """Construct what fills the slots that the targets use, and what that depends on; by slot path."""
    named = [name for target in targets for name in (target, bootstrap_name(target)) if name in program.functions]
    queue = deque(sorted({s for name in named for op in program.functions[name].ops for s in op.touched}))
    components: dict[str, Role] = {}
    dependencies: dict[str, dict[str, str]] = {}
    while queue:
        path = queue.popleft()
        if path not in components:
            components[path] = _construct(program, path, given.get(path))
            dependencies[path] = _dependencies(program, path, components[path])
            queue.extend(dependencies[path].values())
    return components, dependencies


def _dependencies(program: Program, path: str, component: Role) -> dict[str, str]:
    """Which slot serves each dependency; a Concrete that was bound late brings its own."""
    found = {}
    for role, name in component.dependencies:
        slot = next((p for p in enclosing(path, name) if p in program.bindings), None)
        if slot is None or program.bindings[slot]["role"] != role:
            raise UnboundDependency(
                f"{type(component).__name__} in slot {path!r} needs a {role} as {name!r}",
                hint=f"bind one when compiling: Compiler().bind({{{name!r}: ...}})",
            )
        found[name] = slot
    return found


def _construct(program: Program, path: str, given: Any) -> Role:
    binding = program.bindings[path]
    concrete, config = _choose(binding, path, given)
    cls = installed_plugins().resolve(concrete) if isinstance(concrete, str) else concrete
    if binding["role"] not in [r.role for r in roles_of(cls)]:
        raise RoleMismatch(f"{cls.__name__} cannot fill the {binding['role']} slot {path!r}")
    ready = make_config(cls, config, path)
    try:
        return cls(ready)
    except MissingExtra:
        raise  # it says all there is to say
    except Exception as error:  # a Concrete's constructor may raise anything
        raise InstallError(
            f"{cls.__name__} for slot {path!r} could not be constructed: {error}", hint="see the cause above"
        ) from error


def _choose(binding: dict[str, Any], path: str, given: Any) -> tuple[type[Role] | str, Any]:
    if isinstance(given, type):
        given = Use(given)
    if isinstance(given, Use):
        if binding["concrete"] is not None and given.concrete != binding["concrete"]:
            named = getattr(given.concrete, "__bb_name__", given.concrete)
            if named != binding["concrete"]:
                raise RoleMismatch(
                    f"the slot {path!r} is bound to {binding['concrete']} in the artefact",
                    hint=f"leave it late when compiling: compile(..., late=[{path!r}])",
                )
        return given.concrete, given.config
    if binding["concrete"] is None:
        raise UnboundSlot(
            f"the {binding['role']} slot {path!r} was left late, and install was not given a Concrete for it",
            hint=f"install(..., config={{{path!r}: bb.use(...)}})",
        )
    return binding["concrete"], binding["config"] if given is None else given
