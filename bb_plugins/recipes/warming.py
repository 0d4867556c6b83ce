"""`bb warmup`: compiles all kernels into numba's cache, so that no run waits for a compiler."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@dataclass(frozen=True, slots=True)
class Warmth:
    """What a warm-up has done.

    Attributes:
        kernels: How many there are.
        compiled: Functions that were compiled, those that kernels call included; none when all were in the cache.
        seconds: How long it took, numba's import included.
        cache: Folders of the cache.
        cache_bytes: What our kernels take in them, of all releases and CPUs.
    """

    kernels: int
    compiled: dict[str, float]
    seconds: float
    cache: list[str]
    cache_bytes: int


def warmup(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compile every kernel into the cache on disk; what is there already is only loaded."""
    console = Console(stderr=as_json, quiet=as_json)
    found = _warm(console)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    longest = sorted(found.compiled.items(), key=lambda each: -each[1])[:3]
    told = f"; the longest: {', '.join(f'{name} {took:.2f} s' for name, took in longest)}" if longest else ""
    count = len(found.compiled)
    console.print(f"{found.kernels} kernels ready in {found.seconds:.2f} s, {count} functions compiled{told}")
    where = f"cache: {', '.join(found.cache)}, {found.cache_bytes / 2**20:.2f} MiB"
    console.print(where, highlight=False, markup=False, soft_wrap=True)


def _warm(console: Console) -> Warmth:
    began = perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[name]}"), console=console, transient=True) as progress:
        task = progress.add_task("kernels", total=None, name="loading numba")
        from bb_plugins.backends.cpu.kernels._jit import COMPILED
        from bb_plugins.backends.cpu.kernels.natives import natives
        from bb_plugins.recipes.warm_up import TRIALS, every_kernel, kernel_named, warm_up

        before, names = len(COMPILED), every_kernel()
        warm_up(names, lambda done, total, name: progress.update(task, completed=done, total=total, name=name))
    dispatchers = [kernel_named(name) for name in TRIALS]
    caches = {d.stats.cache_path for d in dispatchers}  # type: ignore[attr-defined]  # numba has no types
    folders = sorted({str(c) for c in caches | {kernel.cache for kernel in natives().values()}})
    return Warmth(
        len(names), dict(COMPILED[before:]), perf_counter() - began, folders, sum(map(_size, map(Path, folders)))
    )


def _size(folder: Path) -> int:
    """Count the bytes of numba's index and data files; all of the folder are of one package of kernels."""
    return sum(file.stat().st_size for pattern in ("*.nbi", "*.nbc") for file in folder.glob(pattern))
