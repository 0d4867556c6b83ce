from typing import Any, final

import numpy as np
import numpy.typing as npt

_I64 = npt.NDArray[np.int64]

class ShapeChanged(Exception): ...

@final
class Call:
    def __init__(
        self,
        kernel: Any,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        bound: tuple[int, ...],
        kinds: tuple[tuple[np.dtype[Any], tuple[int, ...]] | None, ...],
    ) -> None: ...

@final
class Machine:
    def __init__(
        self,
        schedule: list[Call | tuple[int, int]],
        steps: _I64,
        params: _I64,
        bases: _I64,
        values: list[Any],
        inputs: tuple[tuple[np.dtype[Any], tuple[int, ...], int, int], ...],
        made: tuple[tuple[np.dtype[Any], tuple[int, ...], int, int], ...],
        shown: tuple[tuple[int, int, tuple[int, ...]], ...],
        results: tuple[tuple[int, tuple[int, ...] | None, bool], ...],
        owned: npt.NDArray[np.uint8] | None,
    ) -> None: ...
    def fits(self, given: tuple[Any, ...]) -> bool: ...
    def run(self, given: tuple[Any, ...]) -> tuple[Any, ...]: ...

def address_in(capsule: object) -> int: ...
def multiplier(sgemm: int) -> int: ...
def convolver() -> int: ...
def filter_gradient() -> int: ...
