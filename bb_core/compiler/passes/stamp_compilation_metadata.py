"""Pass 18."""

from __future__ import annotations

import json
from typing import Any

import onnx

from bb_core import keys
from bb_core.compiler.components import exported
from bb_core.compiler.state import State, nodes_of
from bb_core.configs import encode_config
from bb_core.errors import CompileError
from bb_core.ir.encode import set_opsets
from bb_core.ir.naming import target_of
from bb_core.ir.passport import digest_of
from bb_core.ir.proto import set_metadata
from bb_core.ops.table import owner_of
from bb_core.version import ARTEFACT_FORMAT, __version__


def stamp_compilation_metadata(model: onnx.ModelProto, state: State) -> None:
    """Write bindings, what peers may call, and the passport: format, compiler, targets, plugins, digest of it all.

    Needs: resolved slots. Leaves: the artefact. Fails with: ConfigError, for a configuration that is not plain data.
    """
    bindings: dict[str, dict[str, Any]] = {}
    exports = exported(model, state)
    for path in sorted(state.bound):
        bound = state.bound[path]
        try:
            config = None if bound.config is None else encode_config(bound.config, path)
        except CompileError as error:
            state.add(error)
            continue
        bindings[path] = {
            "role": bound.role,
            "concrete": bound.name,
            "config": config,
            "dependencies": dict(sorted(bound.dependencies.items())),
        }
        if path in exports:
            bindings[path]["component"], bindings[path]["inbound"] = exports[path]
    set_metadata(model, keys.BINDINGS, json.dumps(bindings, sort_keys=True))
    set_opsets(model)
    names = sorted({b.name for b in state.bound.values() if b.name})
    needed = {state.plugins.distribution_of(n) for n in names}
    needed |= {owner_of(n.domain, n.op_type).partition(" (")[0] for n in nodes_of(model)}
    plugins = sorted(needed - {"", "this process"})
    passport = {
        "format": ARTEFACT_FORMAT,
        "compiler": __version__,
        "targets": list(dict.fromkeys(target_of(f.name) for f in model.functions)),
        "plugins": plugins,
        "digest": digest_of(model),
    }
    set_metadata(model, keys.PASSPORT, json.dumps(passport, sort_keys=True))
