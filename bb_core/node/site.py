"""What a site brings of its own, as a file: `node.toml`, for `install(config=read_site(...))`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bb_core.errors import ConfigError, did_you_mean
from bb_core.registry import Use, use

_LEGAL = ("concrete", "config")


def read_site(text: str | Mapping[str, Any]) -> dict[str, Any]:
    """Read which Concretes fill a site's late slots, and what configures the others.

    A table for each slot path; `concrete` names what fills a late slot, `config` its options, which for a slot that is
    bound already override the artefact's:

        [slots.data]
        concrete = "bytesandbrains.ArrayDataSource"
        config = { batch_size = 32 }

        [slots."student.model"]
        config = { learning_rate = 0.05 }

    Args:
        text: TOML, or what was read from it; the core reads no files itself.

    Returns:
        What `bb.install` takes as `config`.

    Raises:
        ConfigError: it is not TOML, or holds what is not known.
    """
    try:
        found = dict(text) if isinstance(text, Mapping) else msgspec.toml.decode(text)
    except (msgspec.DecodeError, TypeError) as error:
        raise ConfigError(f"the site's file is not TOML: {error}") from error
    _only(found, ("slots",), "the site's file")
    slots = found.get("slots", {})
    if not isinstance(slots, dict):
        raise ConfigError("`slots` is no table", expected="[slots.<path>] for each slot")
    return {path: _entry(path, slot) for path, slot in slots.items()}


def _entry(path: str, slot: Any) -> dict[str, Any] | Use:
    where = f"[slots.{path}]"
    if not isinstance(slot, dict):
        raise ConfigError(f"the slot {path!r} is a {type(slot).__name__}", where=where, expected="a table")
    _only(slot, _LEGAL, where)
    config = slot.get("config", {})
    if not isinstance(config, dict):
        raise ConfigError(f"the config of {path!r} is a {type(config).__name__}", where=where, expected="a table")
    if "concrete" not in slot:
        return config
    return use(str(slot["concrete"]), **config)


def _only(table: dict[str, Any], legal: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in legal:
            raise ConfigError(f"{where} has {name!r}", where=where, hint=did_you_mean(name, legal))
