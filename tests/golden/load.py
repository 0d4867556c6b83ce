"""Golden bytes: text files of hexadecimal digits, with a comment behind each `#`."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def envelopes() -> dict[str, bytes]:
    """The golden Envelopes by name."""
    return {path.stem: _bytes(path) for path in sorted((HERE / "envelopes").glob("*.txt"))}


def _bytes(path: Path) -> bytes:
    lines = path.read_text(encoding="utf-8").splitlines()
    return bytes.fromhex("".join(line.partition("#")[0] for line in lines))
