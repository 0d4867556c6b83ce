"""From what a user names on the command line to a program and its bindings."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import onnx

from bb_core import keys
from bb_core.compiler import Compiler
from bb_core.dsl.module import Module
from bb_core.errors import LoadError, UnknownConcrete, UsageError, did_you_mean
from bb_core.ids import PeerId
from bb_core.ir.proto import metadata
from bb_core.plugins import installed_plugins
from bb_core.registry import Use, use
from bb_core.testing.population import Each

if TYPE_CHECKING:
    from bb_core.node import Node
    from bb_core.node.snapshots import Header


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program, and what fills its slots.

    Attributes:
        bindings: Those that stand beside it in its file (`bindings = {...}`).
        defaults: Those of a recipe, for slots that nothing else fills; what the program has no slot for is left out.
    """

    program: Module | onnx.ModelProto
    bindings: dict[str, Any]
    defaults: dict[str, Use] = field(default_factory=dict)

    @property
    def is_compiled(self) -> bool:
        """Whether it is an artefact already."""
        return isinstance(self.program, onnx.ModelProto) and keys.PASSPORT in metadata(self.program)

    @property
    def slots(self) -> list[str]:
        """The paths of its slots."""
        model = self.program if isinstance(self.program, onnx.ModelProto) else self.program.build()
        return [k.removeprefix(keys.SLOT_ROLE) for k in metadata(model) if k.startswith(keys.SLOT_ROLE)]


RECIPE: Final = "recipe"


def load(what: str, arguments: Mapping[str, Any] | None = None) -> Loaded:
    """Load `app.py:Module`, `package.module:Module`, `recipe:Name`, or a model file.

    Args:
        what: Which of these.
        arguments: What the Module is made with, by name.

    Raises:
        LoadError: there is no such file or name, or it is no program.
    """
    place, colon, name = what.rpartition(":")
    if place == RECIPE:
        return _recipe(name, arguments)
    if what.endswith(".onnx") or not colon:
        return Loaded(_program(_model(Path(what)), what, arguments), {})
    module = _import(place)
    found = getattr(module, name, None)
    if found is None:
        modules = [
            n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, Module) and v is not Module
        ]
        raise LoadError(f"{place} has no {name!r}", hint=did_you_mean(name, modules))
    return Loaded(_program(found, what, arguments), dict(getattr(module, "bindings", {})))


def _recipe(name: str, arguments: Mapping[str, Any] | None) -> Loaded:
    recipes = installed_plugins().recipes
    entry = recipes.find(name)
    if entry is None:
        raise LoadError(f"there is no recipe {name!r}", hint=did_you_mean(name, [e.name for e in recipes]))
    program = _program(recipes.resolve(entry), f"{RECIPE}:{name}", arguments)
    return Loaded(program, {}, {path: use(concrete) for path, concrete in entry.bindings.items()})


def read_bytes(path: Path) -> bytes:
    """Read a file that the user has named.

    Raises:
        LoadError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise LoadError(f"{str(path)!r} cannot be read: {error.strerror}", expected="a file") from error


def load_node(what: str, header: Header) -> Callable[[], Node]:
    """Load what installs a Node: a function of the user's, or an artefact, for the peer and targets of a snapshot.

    Raises:
        LoadError: there is no such file or name.
    """
    from bb_core.node import Node

    place, colon, name = what.rpartition(":")
    if what.endswith(".onnx") or not colon:
        model = _model(Path(what))
        return lambda: _installed(model, header)
    make = getattr(_import(place), name, None)
    if not callable(make):
        raise LoadError(f"{place} has no function {name!r}", expected="one without arguments that installs the Node")

    def made() -> Node:
        node = make()
        if not isinstance(node, Node):
            raise LoadError(f"{what} returned a {type(node).__name__}", expected="a Node, from bb.install")
        return node

    return made


def _installed(model: onnx.ModelProto, header: Header) -> Node:
    from bb_core.node import install

    try:
        return install(PeerId.parse(header.peer), [], model, header.targets)
    except UnknownConcrete as error:
        hint = "if it is in a file of yours, name a function there that installs the Node: app.py:make_node"
        raise UnknownConcrete(error.message, hint=hint) from error


def compiler_for(loaded: Loaded, bind: Iterable[str], options: Iterable[str]) -> Compiler:
    """Make a compiler with the bindings of the file, overridden by `slot=Concrete` and `slot.option=value`."""
    bindings = bindings_for(loaded, bind, options)
    return Compiler().bind({k: use(v.concrete) if isinstance(v, Each) else v for k, v in bindings.items()})


def bindings_for(loaded: Loaded, bind: Iterable[str], options: Iterable[str]) -> dict[str, Use | Each]:
    """Return the bindings of the file, overridden by `slot=Concrete` and `slot.option=value`."""
    bindings: dict[str, Use | Each] = {
        k: v if isinstance(v, Use | Each) else use(v) for k, v in loaded.bindings.items()
    }
    for text in bind:
        slot, equals, concrete = text.partition("=")
        if not equals or not concrete:
            raise UsageError(f"--bind {text}", expected="--bind slot=Concrete, such as --bind model=bytesandbrains.MLP")
        bindings[slot] = use(concrete)
    bindings = with_defaults(loaded, bindings)
    for text in options:
        path, equals, value = text.partition("=")
        slot, dot, option = path.rpartition(".")
        if not equals or not dot:
            raise UsageError(f"--set {text}", expected="--set slot.option=value, such as --set aggregator.quorum=8")
        if slot not in bindings:
            raise UsageError(f"--set {text}: the slot {slot!r} is not bound", hint=did_you_mean(slot, bindings))
        old = bindings[slot]
        if isinstance(old, Each):
            raise UsageError(f"--set {text}: the file configures {slot!r} peer by peer", hint="change it in the file")
        config = old.config if isinstance(old.config, dict) or old.config is None else vars(old.config)
        bindings[slot] = Use(old.concrete, {**(config or {}), option: _value(value)})
    return bindings


def with_defaults(loaded: Loaded, bindings: Mapping[str, Use | Each]) -> dict[str, Use | Each]:
    """Return bindings with those defaults of a recipe that fill a slot of the program, or serve what is bound."""
    if not loaded.defaults:
        return dict(bindings)
    slots = set(loaded.slots)
    found = {path: default for path, default in loaded.defaults.items() if path in slots and path not in bindings}
    for given in [*bindings.values(), *found.values()]:
        cls = installed_plugins().resolve(given.concrete) if isinstance(given.concrete, str) else given.concrete
        for _, name in cls.dependencies:
            if name in loaded.defaults and name not in bindings:
                found[name] = loaded.defaults[name]
    return {**bindings, **found}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _model(path: Path) -> onnx.ModelProto:
    if not path.exists():
        raise LoadError(
            f"there is no file {str(path)!r}", expected="a .onnx file, or app.py:Module, or package.module:Module"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf raises its own kinds, and the file may not be readable
        raise LoadError(f"{path} is no ONNX model: {error}", hint="to load a Module, write app.py:Module") from error
    if not model.functions or model.functions[0].domain != keys.MODULE:
        raise LoadError(
            f"{path} is an ONNX model, and no program of bytesandbrains",
            expected="what Module.build() or bb compile wrote",
        )
    return model


def _import(place: str) -> ModuleType:
    path = Path(place)
    try:
        if place.endswith(".py") or path.exists():
            if not path.exists():
                raise LoadError(f"there is no file {place!r}", expected="app.py:Module")
            sys.path.insert(0, str(path.resolve().parent))
            taken = path.stem in sys.stdlib_module_names or path.stem in sys.modules
            name = f"bb_file_{path.stem}" if taken else path.stem  # a file json.py is not to stand for the library's
            spec = importlib.util.spec_from_file_location(name, path)
            if spec is None or spec.loader is None:
                raise LoadError(f"{place} is no Python file", expected="app.py:Module")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            return module
        return importlib.import_module(place)
    except LoadError:
        raise
    except Exception as error:  # the user's file may raise anything
        raise LoadError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error


def _program(found: Any, what: str, arguments: Mapping[str, Any] | None = None) -> Module | onnx.ModelProto:
    given = dict(arguments or {})
    if isinstance(found, Module | onnx.ModelProto):
        if given:
            raise LoadError(f"{what} is made already, and takes no {', '.join(given)}", expected="a Module's class")
        return found
    if not callable(found):
        raise LoadError(
            f"{what} is a {type(found).__name__}", expected="a Module, its class, or a function that makes one"
        )
    taken = inspect.signature(found).parameters
    for name in given:
        if name not in taken:
            raise LoadError(f"{what} takes no {name!r}", hint=did_you_mean(name, taken))
    needed = [
        p.name
        for p in taken.values()
        if p.name not in given
        and p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if needed:
        raise LoadError(
            f"{what} needs the arguments {', '.join(needed)}",
            hint=f"make one in the file: program = {what.rpartition(':')[2]}(...), and name that",
        )
    try:
        made = found(**given)
    except (TypeError, ValueError) as error:
        raise LoadError(f"{what} refuses its arguments: {error}") from error
    if not isinstance(made, Module | onnx.ModelProto):
        raise LoadError(f"{what} made a {type(made).__name__}", expected="a Module")
    return made
