"""`Compiler`: collects bindings and stages, runs the passes, returns the artefact."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx

from bb_core import keys
from bb_core.compiler.passes import PASSES, Pass
from bb_core.compiler.split import split
from bb_core.compiler.stages import Run, Stage, find_stage
from bb_core.compiler.state import Options, State
from bb_core.compiler.verify import problems, verify
from bb_core.dsl.module import Module
from bb_core.errors import (
    DuplicateBinding,
    IncompleteProgram,
    MalformedProgram,
    ProtocolWarning,
    RoleMismatch,
    UnknownStage,
    did_you_mean,
)
from bb_core.plugins import installed_plugins
from bb_core.registry import Use, use
from bb_core.roles.contract import Role

Bindable = type[Role] | str | Use
"""A Concrete's class, its stable name, or `bb.use(Concrete, option=...)`."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What an observer of a compilation is shown after the recording (`build`) and after each pass and stage.

    Attributes:
        model: The program as it then is. It goes on being changed: copy what you keep.
        counters: What has been counted so far: `functions`, `nodes`, and what passes count themselves.
    """

    name: str
    model: onnx.ModelProto
    counters: Mapping[str, int]


Observe = Callable[[Observation], None]

_FIXED: Final = ("validate_runtime_complete", "stamp_compilation_metadata")
"""Passes without which an artefact would not be one."""


class Compiler:
    """Compiles a program for its Nodes.

    Example:
        compiled = Compiler().bind({"model": MLP, "aggregator": bb.use(FedAvg, quorum=8)}).compile(Averaging())

    Attributes:
        warnings: What the last compilation found worth a look; none of it stops a program.
    """

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._given: dict[str, Use] = {}
        self._stages: list[Stage] = []
        self._left_out: set[str] = set()
        self.warnings: tuple[ProtocolWarning, ...] = ()

    # --- bindings -----------------------------------------------------------------------------------------------------

    def bind(self, bindings: Mapping[str, Bindable]) -> Compiler:
        """Bind slots by path.

        Raises:
            DuplicateBinding: a slot path was bound before.
        """
        for path, concrete in bindings.items():
            if path in self._given:
                raise DuplicateBinding(
                    f"the slot {path!r} is bound twice",
                    where=f"first to {_title(self._given[path])}, now to {_title(concrete)}",
                    hint="remove one of the two bindings",
                )
            self._given[path] = _checked(path, concrete)
        return self

    def _bind_one(self, path: str, concrete: Bindable, config: Any) -> Compiler:
        inner = concrete if isinstance(concrete, Use) else use(concrete)
        return self.bind({path: Use(inner.concrete, config if config is not None else inner.config)})

    def bind_backend(self, path: str, concrete: Bindable, config: Any = None) -> Compiler:
        """Bind a Backend slot."""
        return self._bind_one(path, concrete, config)

    def bind_model(self, path: str, concrete: Bindable, config: Any = None) -> Compiler:
        """Bind a Model slot."""
        return self._bind_one(path, concrete, config)

    def bind_index(self, path: str, concrete: Bindable, config: Any = None) -> Compiler:
        """Bind an Index slot."""
        return self._bind_one(path, concrete, config)

    def bind_aggregator(self, path: str, concrete: Bindable, config: Any = None) -> Compiler:
        """Bind an Aggregator slot."""
        return self._bind_one(path, concrete, config)

    def bind_codec(self, path: str, concrete: Bindable, config: Any = None) -> Compiler:
        """Bind a Codec slot."""
        return self._bind_one(path, concrete, config)

    def bind_data_source(self, path: str, concrete: Bindable, config: Any = None) -> Compiler:
        """Bind a DataSource slot."""
        return self._bind_one(path, concrete, config)

    def bind_peer_selector(self, path: str, concrete: Bindable, config: Any = None) -> Compiler:
        """Bind a PeerSelector slot."""
        return self._bind_one(path, concrete, config)

    def bind_protocol(self, path: str, concrete: Bindable, config: Any = None) -> Compiler:
        """Bind a Protocol slot."""
        return self._bind_one(path, concrete, config)

    # --- passes and stages --------------------------------------------------------------------------------------------

    def with_stage(
        self, stage: str | Run, *, after: str | None = None, before: str | None = None, name: str | None = None
    ) -> Compiler:
        """Add a stage at an anchor.

        Args:
            stage: The name of one that a plugin registers, or a function `(model, state)`, which may change the model
                in place and reports what is wrong by `state.add(error)`.
            after: Pass or stage that it follows; without any anchor, a plugin's stage goes where its plugin says, and a
                function after `type_solver`.
            before: Pass or stage that it precedes, instead.
            name: What a function is called in messages; its own name otherwise.

        Raises:
            UnknownStage: no plugin registers the stage, or the anchor is none.
        """
        found = find_stage(stage, name, installed_plugins())
        if after is not None or before is not None:
            found = dataclasses.replace(found, after=after, before=before)
        legal = [*(p.name for p in PASSES), *(s.name for s in self._stages)]
        anchor = found.after or found.before or ""
        if anchor not in legal:
            raise UnknownStage(f"the stage {found.name!r} has the anchor {anchor!r}", hint=did_you_mean(anchor, legal))
        if found.name in legal:
            raise UnknownStage(f"there is a pass or stage {found.name!r} already", hint="give it another name=")
        if anchor == PASSES[-1].name and found.before is None:
            raise UnknownStage(f"nothing may follow {anchor}: the artefact is sealed", hint=f"before={anchor!r}")
        self._stages.append(found)
        return self

    def without_stage(self, name: str) -> Compiler:
        """Leave a pass or stage out. The completeness check still demands what a program needs to run.

        Raises:
            UnknownStage: there is none of that name, or it cannot be left out.
        """
        legal = [*(p.name for p in PASSES), *(s.name for s in self._stages)]
        if name not in legal:
            raise UnknownStage(f"there is no pass or stage {name!r}", hint=did_you_mean(name, legal))
        if name in _FIXED:
            raise UnknownStage(f"the pass {name} cannot be left out", hint="it checks and seals the artefact")
        self._left_out.add(name)
        return self

    def with_permissive_types(self) -> Compiler:
        """Let what the type solver cannot settle be a warning."""
        self._options = dataclasses.replace(self._options, permissive_types=True)
        return self

    def with_determinism(self) -> Compiler:
        """Refuse a Model that may give other bytes for equal seeds and inputs, as its capabilities say."""
        self._options = dataclasses.replace(self._options, determinism=True)
        return self

    # --- compiling ----------------------------------------------------------------------------------------------------

    def compile(
        self,
        program: Module | onnx.ModelProto,
        *,
        targets: Iterable[str] | None = None,
        late: Iterable[str] = (),
        observe: Observe | None = None,
    ) -> onnx.ModelProto:
        """Run the eighteen passes, and the stages between them.

        Args:
            program: A Module, or what its `build` returned. It is not changed.
            targets: Targets whose slots must be bound; None: all.
            late: Slot paths that each site binds for itself, at install.
            observe: Called after the recording and after each pass and stage.

        Returns:
            The artefact: a ModelProto that `bb.install` takes.

        Raises:
            CompileError: with the pass, the op and your line; several of one pass come as one `CompileErrors`.
        """
        model, state = self._begin(program, targets, late)
        self._run(self._order(), model, state, observe)
        self.warnings = tuple(state.warnings)
        for finding in state.warnings:
            warnings.warn(finding, stacklevel=2)
        return model

    def compile_partitions(
        self, program: Module | onnx.ModelProto, *, late: Iterable[str] = (), observe: Observe | None = None
    ) -> dict[str, onnx.ModelProto]:
        """Compile, and return each target as a model of its own, for inspection: by name, in order of class."""
        return split(self.compile(program, late=late, observe=observe))

    def _begin(
        self, program: Module | onnx.ModelProto, targets: Iterable[str] | None, late: Iterable[str]
    ) -> tuple[onnx.ModelProto, State]:
        _check_program(program)
        model = onnx.ModelProto()
        model.CopyFrom(program.build() if isinstance(program, Module) else program)
        if not model.functions:
            raise MalformedProgram("the model has no function", expected="what Module.build() returned")
        if any(p.key == keys.PASSPORT for p in model.metadata_props):
            raise MalformedProgram(
                "the model is compiled already", expected="a Module, or what Module.build() returned", hint="install it"
            )
        state = State(
            self._options,
            given=dict(self._given),
            late=frozenset([late] if isinstance(late, str) else late),
            targets=None if targets is None else (targets,) if isinstance(targets, str) else tuple(targets),
        )
        state.read_slots(model)
        if not isinstance(program, Module):  # what was recorded here is sound; what comes from elsewhere may not be
            for function in model.functions:
                state.errors += problems(function)
            state.raise_errors("build")
        return model, state

    def _order(self) -> list[Pass | Stage]:
        """Put the stages at their anchors; of two at one anchor, the one added first stands nearer to it."""
        order: list[Pass | Stage] = list(PASSES)
        for stage in self._stages:
            at = next(i for i, each in enumerate(order) if each.name == (stage.after or stage.before))
            if stage.after is not None:
                at += 1
                while at < len(order) and isinstance(order[at], Stage) and order[at] in self._stages:
                    if getattr(order[at], "after", None) != stage.after:
                        break
                    at += 1
            order.insert(at, stage)
        return order

    def _run(
        self, order: Iterable[Pass | Stage], model: onnx.ModelProto, state: State, observe: Observe | None
    ) -> None:
        _show(observe, "build", model, state)
        missing: set[str] = set(self._left_out)
        for each in order:
            if each.name in missing:
                continue
            absent = sorted(missing.intersection(each.needs)) if isinstance(each, Pass) else []
            if absent:
                raise IncompleteProgram(
                    f"{each.name} needs what {' and '.join(absent)} would have left",
                    hint=f"do not leave {absent[0]} out",
                    missing=absent,
                )
            each.run(model, state)
            state.raise_errors(each.name)
            verify(model, each.name, by_stage=isinstance(each, Stage))
            _show(observe, each.name, model, state)


def _show(observe: Observe | None, name: str, model: onnx.ModelProto, state: State) -> None:
    if observe is not None:
        counters = {"functions": len(model.functions), "nodes": sum(len(f.node) for f in model.functions)}
        observe(Observation(name, model, counters | dict(sorted(state.counts.items()))))


def _check_program(program: Any) -> None:
    if not isinstance(program, Module | onnx.ModelProto):
        what = f"the class {program.__name__}" if isinstance(program, type) else f"a {type(program).__name__}"
        raise MalformedProgram(
            f"{what} cannot be compiled", expected="a Module: an instance, such as Averaging(), or what build() made"
        )


def _checked(path: str, concrete: Any) -> Use:
    """Refuse what cannot be bound, before it is asked for its Role."""
    found = concrete if isinstance(concrete, Use) else use(concrete)
    inner: Any = found.concrete
    if not isinstance(inner, str) and not (isinstance(inner, type) and issubclass(inner, Role)):
        what = f"the class {inner.__name__}" if isinstance(inner, type) else f"a {type(inner).__name__}"
        raise RoleMismatch(
            f"{what} was bound to the slot {path!r}",
            expected="a Concrete's class, its stable name, or bb.use(Concrete, option=...)",
        )
    return found


def _title(concrete: Bindable) -> str:
    inner = concrete.concrete if isinstance(concrete, Use) else concrete
    return inner if isinstance(inner, str) else inner.__name__
