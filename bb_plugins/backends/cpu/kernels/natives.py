"""All kernels of plans, for who wants them compiled beforehand."""

from __future__ import annotations

from bb_plugins.backends.cpu.kernels import folding, moving, tiles, windows
from bb_plugins.backends.cpu.kernels._jit import Native
from bb_plugins.backends.cpu.kernels.elements import ELEMENTS, element_loop


def natives() -> dict[str, Native]:
    """Return them by name: those that are written out, and the loop of each elementwise step."""
    modules = (folding, moving, tiles, windows)
    written = {v.__name__: v for m in modules for v in vars(m).values() if isinstance(v, Native)}
    return written | {f"each_{name}": element_loop(name) for name in ELEMENTS}
