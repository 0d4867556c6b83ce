"""docs/guide/backends.md: its program prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "backends.md"


def test_the_program_of_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    program = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[-1]
    exec(program, {})
    (said,) = re.findall(r"print\(.*\)  # (.*)", program)
    assert capsys.readouterr().out.strip() == said
