"""docs/guide/deploying.md, typed as it stands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.meta.sources import ROOT

SECONDS = 90
GUIDE = ROOT / "docs" / "guide" / "deploying.md"


@pytest.mark.slow
def test_five_processes_learn(tmp_path: Path) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    prepare, start = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    (tmp_path / "ward.py").write_text(program, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "bb"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bb_core.cli "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    path = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"
    out = tmp_path / "out.txt"
    with out.open("w") as file:
        process = subprocess.Popen(
            ["bash", "-c", f"{prepare}\n{start}"], cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PORT": "24610", "PATH": path}, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(SECONDS)
        finally:
            with suppress(ProcessLookupError):  # its whole group: nothing is left, whatever happens
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(SECONDS)
    told = out.read_text()
    logs = "\n".join(p.read_text()[-800:] for p in tmp_path.glob("*.log"))
    rounds = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert [r["round"] for r in rounds] == [1, 2, 3, 4, 5], f"{told}\n{logs}"
    last = rounds[-1]["outputs"]
    assert last["training"]["peers"] == 4
    assert last["metrics"]["count"] == 360
    assert last["metrics"]["correct"] > 310
