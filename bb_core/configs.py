"""Validates what configures a Concrete, and writes it into an artefact."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from bb_core.errors import ConfigError, did_you_mean
from bb_core.roles.contract import Role


def make_config(concrete: type[Role], given: Any, slot: str) -> Any:
    """Turn what the user gave (None, a mapping, or the Concrete's Config) into its Config.

    Raises:
        ConfigError: an unknown field, a wrong type, or a value that the Config's own checks refuse.
    """
    cls: Any = concrete.Config
    if isinstance(given, cls):
        return given
    where = f"slot {slot!r}, {concrete.__name__}.Config"
    if given is not None and not isinstance(given, dict):
        raise ConfigError(
            f"the configuration of {concrete.__name__} is a {type(given).__name__}",
            where=where,
            expected=f"a dict of its fields, or {concrete.__name__}.Config(...)",
        )
    fields = dict(given or {})
    legal: list[str] = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    for name in fields:
        if name not in legal:
            raise ConfigError(
                f"{concrete.__name__} has no option {name!r}", where=where, hint=did_you_mean(name, legal)
            )
    try:
        return _convert(cls, fields)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise ConfigError(f"{concrete.__name__} refuses its configuration: {error}", where=where) from error


def _convert(cls: Any, fields: dict[str, Any]) -> Any:
    if not dataclasses.is_dataclass(cls):
        return cls()
    return msgspec.convert(fields, cls, dec_hook=_keep)


def _keep(wanted: type, value: Any) -> Any:
    if isinstance(value, wanted):
        return value
    raise ValueError(f"expected {wanted.__name__}, got {type(value).__name__}")


def is_portable(config: Any) -> bool:
    """Whether a configuration can stand in an artefact; one with arrays cannot."""
    try:
        msgspec.json.encode(config)
    except (TypeError, msgspec.EncodeError):
        return False
    return True


def encode_config(config: Any, slot: str) -> Any:
    """Write a Config as plain data for the artefact.

    Raises:
        ConfigError: it holds what JSON cannot, such as an array; such a configuration is given at install.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(config))
    except (TypeError, msgspec.EncodeError) as error:
        raise ConfigError(
            f"the configuration of slot {slot!r} cannot stand in an artefact: {error}",
            hint=f"bind the Concrete without it, and give it at install: install(..., config={{{slot!r}: ...}})",
        ) from error
