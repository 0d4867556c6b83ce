"""Kernels whose source is made by a program. It is kept in a file, so that numba's cache on disk works for it too."""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import ModuleType

import numba

from bb_plugins.backends.cpu.kernels._jit import Native

_modules: dict[str, ModuleType] = {}


def folder() -> Path:
    """Return where the sources are kept: in numba's cache folder if that is set, else beside the kernels' own cache."""
    chosen: str = numba.config.CACHE_DIR  # type: ignore[attr-defined]  # numba sets its options at import
    if chosen:
        return Path(chosen) / "bytesandbrains"
    here = Path(__file__).parent / "__pycache__"
    if os.access(here if here.exists() else here.parent, os.W_OK):
        return here / "generated"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bytesandbrains" / "kernels"


def native_of(source: str, name: str, words: int) -> Native:
    """Return the kernel of a source.

    Args:
        source: A module.
        name: The function in it.
        words: How many int64 it takes.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:24]
    module = _modules.get(digest)
    if module is None:
        module = _modules[digest] = _loaded(source, f"bb_kernel_{digest}")
    return Native(getattr(module, name), words)


def _loaded(source: str, name: str) -> ModuleType:
    path = folder() / f"{name}.py"
    try:
        _keep(path, source)
    except OSError:
        path = Path(name)  # nowhere to keep it: it is compiled for this process alone
        module = ModuleType(name)
        exec(compile(source, str(path), "exec"), module.__dict__)
        return module
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # numba finds the module of a function by its name
    spec.loader.exec_module(module)
    return module


def _keep(path: Path, source: str) -> None:
    """Write a file whole or not at all; one with other content is replaced."""
    try:
        if path.read_text() == source:
            return
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(source)
    Path(file.name).replace(path)
