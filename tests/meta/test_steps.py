"""Every kind of Step that hosts are told to expect is made somewhere in the core."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

import bb_core
from bb_core import steps

CORE = Path(bb_core.__file__).parent
FILES = [path for path in sorted([*CORE.rglob("*.py"), *CORE.rglob("*.pyx")]) if path.name != "steps.py"]
LINES = [line for path in FILES for line in path.read_text(encoding="utf-8").splitlines() if " import " not in line]


@pytest.mark.parametrize("kind", get_args(steps.Step), ids=lambda kind: kind.__name__)
def test_every_kind_of_step_is_made_somewhere(kind: type) -> None:
    made = re.compile(rf"\b{kind.__name__}\(|: {kind.__name__},$|= {kind.__name__}$")  # called, or kept to be called
    assert any(made.search(line) for line in LINES)
