"""`--nodes`: how many peers there are."""

from __future__ import annotations

from bb_core.errors import UsageError


def counts(text: str) -> int | dict[str, int]:
    """Read a number, or numbers by class of peers.

    Raises:
        UsageError: it is neither.
    """
    try:
        if "=" not in text:
            return int(text)
        pairs = (part.partition("=") for part in text.split(","))
        return {name.strip(): int(count) for name, _, count in pairs}
    except ValueError:
        raise UsageError(f"--nodes {text}", expected="a number, or client=1000,edge=10") from None
