"""What it takes to begin: CPU time of processes that import, or list plugins, and end.

Each row starts processes of its own, in turns with its peer's. `import bb_core` stands beside the imports of numpy and
onnx, of which it needs the first at once and the second later; `bb plugins` beside `import bb_core`. A hundred plugins
are generated distributions, each with an entry point, a hook and a Concrete; their row is the difference that it
makes to have them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from bb_plugins.bench.harness import Measure

resource: Any = pytest.importorskip("resource", reason="the CPU time of other processes is told on POSIX only")

_MANY: Final = 100
_PLUGIN: Final = """
import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry):
    registry.add("{package}.One", "{package}.one:One", role="aggregator")
"""


def write_plugins(folder: Path, count: int) -> None:
    """Write so many distributions with a plugin each, as an installer would leave them."""
    for number in range(count):
        package = f"bb_generated_{number:03}"
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
        (folder / package / "plugin.py").write_text(_PLUGIN.format(package=package), encoding="utf-8")
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir()
        name = package.replace("_", "-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[bytesandbrains]\none = {package}.plugin\n", encoding="utf-8")


def _process(*arguments: str, path: str = "") -> Callable[[], float]:
    """Return a call that runs Python, and tells its nanoseconds of CPU time."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in (path, os.environ.get("PYTHONPATH", "")) if p)}

    def tell() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return float(1e9 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))

    return tell


_IMPORT: Final = ("-c", "import bb_core")
_LIST: Final = ("-m", "bb_core.cli", "plugins", "--json")
_TABLE: Final = _LIST[:-1]


@pytest.fixture
def many() -> Iterator[str]:
    """A folder with a hundred plugins, whose byte code is there."""
    with TemporaryDirectory() as folder:
        write_plugins(Path(folder), _MANY)
        _process(*_LIST, path=folder)()
        yield folder


def test_import(row: Measure) -> None:
    """What every program pays."""
    numpy = ("numpy alone", _process("-c", "import numpy"))
    both = ("numpy and onnx", _process("-c", "import numpy, onnx"))
    row("import bb_core", _process(*_IMPORT), peer=both, limit=numpy, timed=True)


def test_list(row: Measure) -> None:
    """What `bb` pays."""
    peer = ("import bb_core", _process(*_IMPORT))
    row("bb plugins", _process(*_TABLE), peer=peer, timed=True)
    row("bb plugins --json", _process(*_LIST), peer=peer, timed=True)
    row("bb version", _process("-m", "bb_core.cli", "version"), peer=peer, timed=True)


def test_many(row: Measure, many: str) -> None:
    """What a hundred more plugins cost, and what they cost who lists them."""
    more, without = _process(*_LIST, path=many), _process(*_LIST)
    peer: Any = ("import bb_core", _process(*_IMPORT))
    row(f"{_MANY} plugins more", lambda: more() - without(), peer=peer, timed=True)
