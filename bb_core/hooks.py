"""Every hook that a plugin may implement: when it is called, how often, what it may do.

A plugin is an importable module (or object) that an entry point of group `bytesandbrains` names:

    [project.entry-points.bytesandbrains]
    trimmed = "bb_trimmed.plugin"

Its hooks are module-level functions marked with `hookimpl`, each optional. Hooks run once, when plugins are first
needed (a compile, an install, a `bb` command), never inside a poll. They must be quick and import nothing heavy:
registration takes `"module:Class"` strings, and the class is imported when a program binds it.

A hook that raises stops that plugin alone: what it had registered is dropped, `bb plugins` shows the reason, and a
program that needs one of its Concretes is told it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from bb_core.registry import Gradients, Ops, Recipes, Registry, Roles, Stages, Suites, Transports, Types

PROJECT: Final = "bytesandbrains"
"""Name of the pluggy project and of the entry-point group."""

API_VERSION: Final = 1
"""Version of these hooks. A plugin that says `bb_api_version = 1` in its module is loaded by this version alone."""

hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)


@hookspec
def bb_register_concretes(registry: Registry) -> None:
    """Register Concretes: `registry.add("mypkg.TrimmedMean", "mypkg.mean:TrimmedMean", role="aggregator")`.

    The name is the stable one that artefacts carry, and begins with the package's own name. A name that is taken is an
    error that names both owners.
    """


@hookspec
def bb_register_stages(stages: Stages) -> None:
    """Register compiler stages: `stages.add("mypkg.fuse", "mypkg.fuse:fuse", after="type_solver")`.

    A stage is a function `(model, state)` that changes the model in place. It runs for a compiler that asks for it by
    `with_stage("mypkg.fuse")`, never by itself.
    """


@hookspec
def bb_register_ops(ops: Ops) -> None:
    """Declare ops: `ops.add(OpSpec("mypkg.ops", "Scale", 1, inputs=..., outputs=..., call="mypkg.ops:scale"))`.

    A Module records them by `bb.opset("mypkg.ops").scale(g, x, factor=2.0)`. The function is given `ctx`, the inputs by
    position and the attributes by name, and returns the output, or a tuple of several.
    """


@hookspec
def bb_register_types(types: Types) -> None:
    """Add types to the lattice: `types.declare("mypkg.sparse", python_class=Sparse, encode=..., decode=...)`.

    The name is stable and begins with the package's own. With `encode` and `decode` its values can be sent.
    """


@hookspec
def bb_register_roles(roles: Roles) -> None:
    """Add Roles beside the eight: `roles.add(Scheduler, checks="mypkg.checks")`.

    A Role is a class with a `role` name, which begins with the package's own, and ops. Modules have slots of it by
    `bb.slot_of(Scheduler)`. `checks` names the module of what the conformance kit asks of its Concretes.
    """


@hookspec
def bb_register_suites(suites: Suites) -> None:
    """Register benchmark suites: `suites.add("codec", "mypkg.bench.codec")`, a module of pytest-benchmark tests."""


@hookspec
def bb_register_transports(transports: Transports) -> None:
    """Register transports: `transports.add("mypkg.quic", "mypkg.quic:Quic", protocols=("udp", "quic-v1"))`.

    The protocols are the names of an address's segments between its host and its peer; a host uses the transport for
    addresses that have exactly these. Protocols that are taken are an error that names both owners. What a transport
    does is said by the host that it is for; see `bb_plugins.transports.interface`.
    """


@hookspec
def bb_register_gradients(gradients: Gradients) -> None:
    """Register gradient rules: `gradients.add("Swish", "mypkg.rules:swish", domain="mypkg.ops")`.

    A rule is a function `(tape, node, grads)` that writes ONNX ops and returns the gradients of the node's inputs; see
    `bb_plugins.training.rules`. Without a domain it is that of one of ONNX's own ops, which nobody else may have given.
    An op of another domain is a function of the models that call it, by the body of which it is computed; the rule
    takes the place of the gradient that its body would have.
    """


@hookspec
def bb_register_recipes(recipes: Recipes) -> None:
    """Register recipes: `recipes.add("Ring", "mypkg.ring:Ring", bindings={"peers": "bytesandbrains.ConstantView"})`.

    A recipe is a ready-made program: `bb run recipe:Ring` runs it without a file of the user's, and `bb compile`,
    `inspect` and `simulate` take it too. The bindings fill slots that the user does not speak of.
    """


@hookspec
def bb_register_commands(app: Any) -> None:
    """Add commands to `bb`: `app.later("demo", "mypkg.demo:demo")` names one that is imported when it is typed.

    `app` is a typer application, so `app.command("demo")(demo)` works as well; but then every `bb` command imports it.
    Called by the `bb` command only.
    """
