"""Environments of their own, into which plugins are installed as a stranger would, but without the network."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Environment:
    """A virtual environment that sees this one's packages and this tree, and has room for others."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        (packages,) = (folder / "lib").glob("python*/site-packages")
        paths = [*site.getsitepackages(), str(ROOT)]
        lines = [f"import site; site.addsitedir({p!r})" for p in paths]
        (packages / "ours.pth").write_text("\n".join(lines), encoding="utf-8")

    def install(self, package: Path) -> None:
        """Install a package from its folder."""
        self._pip(
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--no-build-isolation",
            "--disable-pip-version-check",
            package,
        )

    def uninstall(self, name: str) -> None:
        """Take a package away."""
        self._pip("uninstall", "--quiet", "--yes", name)

    def bb(self, *arguments: str, cwd: Path, fails: bool = False) -> str:
        """Run a `bb` command; what it prints."""
        return self.run("-m", "bb_core.cli", *arguments, cwd=cwd, fails=fails)

    def run(self, *arguments: str | Path, cwd: Path, fails: bool = False) -> str:
        """Run this environment's Python; what it prints."""
        return _run(self.python, *arguments, cwd=cwd, fails=fails, PYTHONPATH=str(ROOT))

    def _pip(self, *arguments: str | Path) -> None:
        command = (sys.executable, "-m", "pip", "--python", self.python, *arguments)
        _run(*command, cwd=self.python.parent, PIP_NO_CACHE_DIR="1")


def _run(*command: str | Path, cwd: Path, fails: bool = False, **environment: str) -> str:
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr
