"""`Compiler`: collects bindings, runs the passes, returns the artefact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import onnx

from bb_core.compiler.passes import PASSES
from bb_core.compiler.state import Options, State
from bb_core.compiler.verify import verify
from bb_core.dsl.module import Module
from bb_core.errors import DuplicateBinding, MalformedProgram, PassNotAvailable
from bb_core.plugins import installed_plugins
from bb_core.registry import Use, use
from bb_core.roles.contract import Role

Bindable = type[Role] | str | Use
"""A Concrete's class, its stable name, or `bb.use(Concrete, option=...)`."""


class Compiler:
    """Compiles a program for its Nodes.

    Example:
        compiled = Compiler().bind({"model": MLP, "aggregator": bb.use(FedAvg, quorum=8)}).compile(Averaging())
    """

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._given: dict[str, Use] = {}

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
            self._given[path] = concrete if isinstance(concrete, Use) else use(concrete)
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

    def compile(
        self,
        program: Module | onnx.ModelProto,
        *,
        targets: Iterable[str] | None = None,
        late: Iterable[str] = (),
    ) -> onnx.ModelProto:
        """Run the eighteen passes.

        Args:
            program: A Module, or what its `build` returned. It is not changed.
            targets: Targets whose slots must be bound; None: all.
            late: Slot paths that each site binds for itself, at install.

        Returns:
            The artefact: a ModelProto that `bb.install` takes.

        Raises:
            CompileError: with the pass, the op and your line; several of one pass come as one `CompileErrors`.
        """
        model = onnx.ModelProto()
        model.CopyFrom(program.build() if isinstance(program, Module) else program)
        if not model.functions:
            raise MalformedProgram("the model has no function", expected="what Module.build() returned")
        state = State(
            self._options,
            installed_plugins(),
            dict(self._given),
            frozenset(late),
            None if targets is None else tuple(targets),
        )
        for each in PASSES:
            reason = each.needed(model)
            if each.status == "planned":
                if reason:
                    raise PassNotAvailable(
                        f"this program needs the compiler pass {each.name}: {reason}",
                        hint="this release declares that pass but does not have it yet",
                        pass_name=each.name,
                    )
                continue
            each.run(model, state)
            state.raise_errors(each.name)
            verify(model, each.name)
        return model


def _title(concrete: Bindable) -> str:
    inner = concrete.concrete if isinstance(concrete, Use) else concrete
    return inner if isinstance(inner, str) else inner.__name__
