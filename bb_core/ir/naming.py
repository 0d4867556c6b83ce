"""How functions of a program are named: `Averaging`, `Averaging@client`, and their bootstraps with `#bootstrap`."""

from __future__ import annotations

from typing import Final

from bb_core import keys

BOOTSTRAP_SUFFIX: Final = "#bootstrap"


def bootstrap_name(function: str) -> str:
    """Name the bootstrap of a function or target."""
    return function + BOOTSTRAP_SUFFIX


def is_bootstrap(function: str) -> bool:
    """Whether a function is a bootstrap."""
    return function.endswith(BOOTSTRAP_SUFFIX)


def target_of(function: str) -> str:
    """The target that a compiled function belongs to."""
    return function.removesuffix(BOOTSTRAP_SUFFIX)


def compiled_name(function: str, peer_class: str) -> str:
    """Name the part of a function that runs on a class of peers."""
    if peer_class == keys.OWN_CLASS:
        return function
    if is_bootstrap(function):
        return bootstrap_name(f"{target_of(function)}@{peer_class}")
    return f"{function}@{peer_class}"
