"""How large an Envelope may be: what `decode` refuses before it allocates anything."""

from __future__ import annotations

from dataclasses import dataclass, fields

from bb_core.errors import UsageError


@dataclass(frozen=True, slots=True)
class WireLimits:
    """The limits of one Node; a value at its limit is still accepted."""

    total_bytes: int = 16 * 2**20
    """Bytes of a whole Envelope."""
    fills: int = 256
    """Fills in one Envelope."""
    payload_bytes: int = 4 * 2**20
    """Bytes of one fill's payload."""
    suffix_bytes: int = 4096
    """Bytes of one fill's address."""
    src_addresses: int = 8
    """Addresses that a sender names for itself."""
    src_address_bytes: int = 256
    """Bytes of one of those."""
    dest_addresses: int = 64
    """Addresses of the destination. They are for whoever forwards the Envelope; the receiver ignores them."""
    rtt_reports: int = 256
    """Reports of round-trip times."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise UsageError(
                    f"the limit {field.name} is {getattr(self, field.name)}", expected="at least 1", field=field.name
                )

    @classmethod
    def edge(cls) -> WireLimits:
        """Return the limits for a small device."""
        return cls(
            total_bytes=256 * 2**10,
            fills=16,
            payload_bytes=64 * 2**10,
            suffix_bytes=512,
            src_addresses=4,
            src_address_bytes=256,
            dest_addresses=16,
            rtt_reports=16,
        )
