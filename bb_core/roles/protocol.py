"""Protocol: ops of its own, and what peers may ask for."""

from __future__ import annotations

from typing import ClassVar

from bb_core import keys
from bb_core.roles.contract import Role


class Protocol(Role):
    """Speak a protocol with other peers. A Protocol declares its own ops, with `@op` on its own methods."""

    role: ClassVar[str] = keys.PROTOCOL
