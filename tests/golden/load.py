"""The golden Envelopes: a file for each, and README.md, which explains every byte."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def envelopes() -> dict[str, bytes]:
    """The golden Envelopes by name."""
    return {path.stem: path.read_bytes() for path in sorted(HERE.glob("*.bin"))}


def explained() -> dict[str, bytes]:
    """The bytes that README.md explains, by the name of the file."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^## (\w+)\.bin\n.*?^```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return {name: _bytes(block) for name, block in blocks}


def _bytes(block: str) -> bytes:
    return bytes.fromhex("".join(line.partition("#")[0] for line in block.splitlines()))
