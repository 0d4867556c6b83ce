"""Registers the first-party Codecs."""

from __future__ import annotations

from typing import Any, Final

import bb_core as bb

_CONCRETES: Final = {"Float16": "float16", "Int8Affine": "int8_affine", "TopK": "top_k"}
"""Class -> the module that has it."""


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add them all."""
    for name, module in _CONCRETES.items():
        registry.add(f"bytesandbrains.{name}", f"bb_plugins.codecs.{module}:{name}", role="codec")
