"""Stages: what users and plugins add to the compilation, at a named anchor between the passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import onnx

from bb_core.compiler.state import State
from bb_core.errors import PluginLoadError, UnknownStage, did_you_mean
from bb_core.plugins import Plugins

Run = Callable[[onnx.ModelProto, State], None]
"""Changes the whole model in place; it sees the bindings in `state`, and adds errors and warnings there."""

DEFAULT_ANCHOR = "type_solver"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage and where it stands: after one pass or stage, or before one."""

    name: str
    run: Run
    after: str | None = DEFAULT_ANCHOR
    before: str | None = None


def find_stage(stage: str | Run, name: str | None, plugins: Plugins) -> Stage:
    """Return a stage: a function as it is, a name from the plugin that registers it."""
    if not isinstance(stage, str):
        return Stage(name or str(getattr(stage, "__name__", type(stage).__name__)), stage)
    found = plugins.stages.find(stage)
    if found is None:
        raise UnknownStage(
            f"no plugin registers the stage {stage!r}", hint=did_you_mean(stage, [s.name for s in plugins.stages])
        )
    module, _, attribute = found.target.partition(":")
    try:
        run = getattr(import_module(module), attribute)
    except Exception as error:  # a plugin's module may raise anything
        raise PluginLoadError(
            f"{found.owner} registers the stage {stage!r} as {found.target}, which cannot be imported",
            hint=f"{type(error).__name__}: {error}",
        ) from error
    return Stage(found.name, run, found.after)
