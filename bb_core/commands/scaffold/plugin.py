"""The files of a plugin that do not depend on its Role."""

from __future__ import annotations

from typing import Final

FILES: Final = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
description = "$says"
readme = "README.md"
requires-python = ">=3.11"
# license = "..."  # yours to choose: https://spdx.org/licenses
dependencies = ["bytesandbrains>=$version"]

[project.optional-dependencies]
test = ["bytesandbrains[test]"]

# The door: bytesandbrains finds the plugin by this line.
[project.entry-points.bytesandbrains]
$short = "$package.plugin"

[tool.setuptools]
packages = ["$package"]

[tool.setuptools.package-data]
$package = ["py.typed"]

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    "README.md": """
# $name

A $Role for [bytesandbrains](https://pypi.org/project/bytesandbrains/): $says

```sh
pip install -e ".[test]"      # in this folder
bb plugins                    # says whether it is found, and why not
python -m pytest              # the promises of its Role, and its own tests
bb bench $short               # how fast it is
```

In a program it is bound by its stable name:

```python
compiled = bb.Compiler().bind({"slot": bb.use("$package.$Class")}).compile(Program())
```
""",
    ".gitignore": """
__pycache__/
*.egg-info/
build/
dist/
.pytest_cache/
""",
    "$package/__init__.py": '''
"""$says"""

from $package.$module import $Class

__all__ = ["$Class"]
''',
    "$package/py.typed": "",
    "$package/plugin.py": '''
"""Registers what this package brings. It is imported by every `bb` command, so it imports nothing heavy."""

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add the $Role."""
    registry.add(
        "$package.$Class",
        "$package.$module:$Class",
        role="$role",
    )


@bb.hookimpl
def bb_register_suites(suites: Any) -> None:
    """Add the benchmarks, for `bb bench $short`."""
    suites.add("$short", "$package.bench")
''',
    "tests/test_conformance.py": """
from bb_core.testing import parametrize_checks
from $package import $Class


@parametrize_checks($Class$traits)
def test_conformance(check):
    check()
""",
}
