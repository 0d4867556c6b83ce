"""`bb doctor`: looks whether all that an installation needs is there, and says what to do about what is not."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from rich.console import Console
from rich.text import Text

from bb_core.errors import MissingExtra, did_you_mean
from bb_core.plugins import asked_to_disable, installed_plugins
from bb_core.version import __version__


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        status: `broken` makes the command fail; `note` is worth knowing, `absent` an extra that is not installed.
        todo: What to do about it; empty when there is nothing.
    """

    what: str
    status: Literal["ok", "note", "absent", "broken"]
    found: str
    todo: str = ""


_STYLES: Final = {"ok": "green", "note": "yellow", "absent": "dim", "broken": "bold red"}
COMPILED: Final = ("bb_core.wire._codec", "bb_core.engine._dispatch")
EXTRAS: Final = {
    "demo": "bb demo: the handwritten digits, and plots",
    "index": "usearch, for bb bench search and the example package bb-hnsw",
    "metrics": "what Nodes do, as OpenTelemetry spans and counters, and for Prometheus",
    "onnxruntime": "OnnxRuntimeBackend, which runs whole graphs",
    "sklearn": "SklearnModel, which trains an estimator of scikit-learn",
    "tls": "certificates for nodes that speak TLS: bb certs",
    "torch": "TorchModel, which trains a module of torch",
    "quic": "nodes that speak QUIC",
    "uvloop": "a faster event loop for nodes",
    "websocket": "nodes that speak WebSocket",
    "bench": "bb bench: the suites, and the peers that ours is compared with",
    "test": "pytest, hypothesis and what this project's own tests need; also for parametrize_checks",
    "docs": "Sphinx and what `make site` needs",
    "dev": "the linters and type checkers with which this project is changed",
}
"""Extra -> what it gives."""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Look whether all is there, and say what to do. Fails when something is broken."""
    findings = [finding for look in LOOKS for finding in _safely(look)]
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(f) for f in findings]}, indent=1))
    else:
        _print(findings)
    if any(f.status == "broken" for f in findings):
        raise typer.Exit(1)


def _safely(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except Exception as error:  # a broken installation may raise anything, and is what this is about
        name = look.__name__.strip("_")
        yield Finding(
            name, "broken", f"{type(error).__name__}: {error}", "reinstall: pip install --force-reinstall ..."
        )


# --- what is looked at ------------------------------------------------------------------------------------------------


def _release() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    home = Path(__file__).parents[1]
    yield Finding("bytesandbrains", "ok", f"{__version__} at {home}")


def _compiled() -> Iterator[Finding]:
    for name in COMPILED:
        what = f"compiled {name.rpartition('.')[2]}"
        try:
            module = import_module(name)
        except ImportError as error:
            yield Finding(
                what, "broken", str(error), "build it: `make setup` in a checkout, else install the wheel again"
            )
            continue
        yield _built(what, Path(str(module.__file__)))


def _built(what: str, file: Path) -> Finding:
    made = datetime.fromtimestamp(file.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M")
    size = f"{file.stat().st_size / 1024:.0f} kB"
    found = f"{file.name}, built {made} UTC, {size}"
    source = file.with_name(file.name.partition(".")[0] + ".pyx")
    if source.exists() and source.stat().st_mtime > file.stat().st_mtime + 1:
        return Finding(what, "note", f"{found}; {source.name} is newer", "build it again: make setup")
    return Finding(what, "ok", found)


def _compiler() -> Iterator[Finding]:
    wanted = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    path = next((p for p in map(shutil.which, (wanted, "cc", "gcc", "clang")) if p), None)
    if path:
        yield Finding("C compiler", "ok", path)
    else:
        yield Finding(
            "C compiler", "note", f"none ({wanted})", "only to build from source: install gcc or clang, or use a wheel"
        )


def _blas() -> Iterator[Finding]:
    import numpy as np
    from threadpoolctl import threadpool_info

    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    yield Finding(
        "numpy's BLAS", "ok", f"{blas.get('name', 'unknown')} {blas.get('version', '')}, numpy {np.__version__}"
    )
    for pool in threadpool_info():
        if pool.get("user_api") == "blas":
            yield Finding(
                "BLAS threads", "ok", f"{pool['num_threads']} in {pool['internal_api']}; a CpuBackend sets its own"
            )


def _numba() -> Iterator[Finding]:
    import numba

    config: Any = numba.config

    yield Finding("numba", "ok", f"{numba.__version__}, {config.NUMBA_NUM_THREADS} threads")
    if config.DISABLE_JIT:
        yield Finding("numba", "note", "NUMBA_DISABLE_JIT is set: kernels run as plain Python", "unset it")
    own = str(config.CACHE_DIR or "")
    homes = [Path(own)] if own else sorted(_homes())
    for home in homes:
        files = [f for f in home.rglob("*.nb[ic]") if f.is_file()]
        size = sum(f.stat().st_size for f in files)
        found = f"{len(files)} files, {size / 1e6:.1f} MB in {home}"
        if os.access(home, os.W_OK):
            yield Finding("kernel cache", "ok", found)
        else:
            yield Finding(
                "kernel cache", "note", f"{found}, which cannot be written", "set NUMBA_CACHE_DIR to a folder"
            )


def _homes() -> set[Path]:
    """The folders of packages that plugins have Concretes in; numba keeps a kernel beside its source."""
    packages = {e.target.partition(".")[0].partition(":")[0] for e in installed_plugins().registry}
    specs = [find_spec(p) for p in packages]
    homes = {Path(place) for s in specs if s is not None for place in s.submodule_search_locations or ()}
    return {h for h in homes if next(h.rglob("kernels"), None) is not None}


def _plugins() -> Iterator[Finding]:
    found = installed_plugins()
    for status in found.statuses:
        what = f"plugin {status.distribution}:{status.name}"
        if status.is_blocked:
            yield Finding(what, "note", status.error, "take it out of BB_DISABLE_PLUGINS to have it back")
        elif status.error:
            todo = f"reinstall or update it: pip install -U {status.distribution}; or BB_DISABLE_PLUGINS={status.name}"
            yield Finding(what, "broken", status.error, todo)
        else:
            yield Finding(what, "ok", f"{status.version}, {sum(map(len, status.adds.values()))} things added")
    names = {n for s in found.statuses for n in (s.name, s.distribution)}
    for name in sorted(asked_to_disable() - names):
        yield Finding("BB_DISABLE_PLUGINS", "note", f"it names {name!r}, which is no plugin", did_you_mean(name, names))


def _concretes() -> Iterator[Finding]:
    found = installed_plugins()
    for entry in found.registry:
        try:
            found.resolve(entry.name)
        except Exception as error:  # importing a plugin's module may raise anything
            cause = error.__cause__ or error
            if isinstance(cause, MissingExtra):
                yield Finding(f"Concrete {entry.name}", "absent", cause.message, cause.hint or "")
                continue
            yield Finding(
                f"Concrete {entry.name}",
                "broken",
                f"{type(cause).__name__}: {cause}",
                f"update {entry.owner.split()[0]}",
            )


def _extras() -> Iterator[Finding]:
    ours = metadata.distribution("bytesandbrains")
    wanted: dict[str, set[str]] = {name: set() for name in ours.metadata.get_all("Provides-Extra") or ()}
    for requirement in ours.requires or ():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if extra is not None and extra[1] in wanted:
            wanted[extra[1]].add(requirement.partition(";")[0].strip())
    for title in wanted:
        gives = EXTRAS.get(title, "")
        absent = sorted(name for name in _needed(title, wanted) if not _is_installed(name))
        if absent:
            todo = f'pip install "bytesandbrains[{title}]"'
            yield Finding(f"extra [{title}]", "absent", f"{gives}; lacks {', '.join(absent)}", todo)
        else:
            yield Finding(f"extra [{title}]", "ok", gives)


def _needed(extra: str, wanted: dict[str, set[str]]) -> set[str]:
    """The distributions that an extra brings, those of the extras in it too."""
    found: set[str] = set()
    for requirement in wanted.get(extra, ()):
        inner = re.match(r"bytesandbrains\[([\w,-]+)\]", requirement)
        if inner is not None:
            found = found.union(*(_needed(name, wanted) for name in inner[1].split(",")))
        else:
            found.update(re.findall(r"^[\w.-]+", requirement))
    return found


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


LOOKS: Final = (_release, _compiled, _compiler, _blas, _numba, _plugins, _concretes, _extras)


def _print(findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    width = max(len(f.what) for f in findings)
    for f in findings:
        line = Text(f"{f.status:<7}", style=_STYLES[f.status])
        console.print(line.append(f"{f.what:<{width}}  {f.found}", style="default"))
        if f.todo:
            console.print(Text(f"{'':7}{'':{width}}  -> {f.todo}"))
    broken = sum(f.status == "broken" for f in findings)
    console.print(f"{broken} broken" if broken else "all that is needed is there")
