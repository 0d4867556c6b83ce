"""The adaptive server optimizers, against their formulas in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bb_plugins.aggregators.fedopt import FedAdagrad, FedAdam, FedYogi
from tests.plugins.aggregators.rounds import aggregated, updates

SECOND: dict[Any, Callable[[Any, Any], Any]] = {
    FedAdagrad: lambda v, s: v + s,
    FedAdam: lambda v, s: 0.99 * v + 0.01 * s,
    FedYogi: lambda v, s: v - 0.01 * s * np.sign(v - s),
}


@pytest.mark.parametrize("cls", SECOND, ids=lambda c: c.__name__)
def test_it_is_its_algorithm(cls: Any) -> None:
    """Reddi et al. 2021, Algorithm 2."""
    ours = cls(cls.Config(learning_rate=0.1, tau=1e-2, weight=""))
    x = m = v = None
    for number in range(8):
        given = updates(3, 40, seed=number)
        found, _ = aggregated(ours, given)
        mean = np.mean(given, axis=0, dtype=np.float64)
        if x is None:
            x, m, v = mean, np.zeros(40), np.full(40, 1e-4)
        else:
            step = mean - x
            m = 0.9 * m + 0.1 * step
            v = SECOND[cls](v, step * step)
            x = x + 0.1 * m / (np.sqrt(v) + 1e-2)
        np.testing.assert_allclose(found, x, atol=1e-5, err_msg=f"round {number}")


@pytest.mark.parametrize("cls", SECOND, ids=lambda c: c.__name__)
def test_a_restored_one_goes_on_alike(cls: Any) -> None:
    first, other = (cls(cls.Config(weight="")) for _ in range(2))
    for number in range(3):
        aggregated(first, updates(2, 9, seed=number))
    other.restore(first.snapshot())
    given = updates(2, 9, seed=9)
    np.testing.assert_array_equal(aggregated(first, given)[0], aggregated(other, given)[0])


@pytest.mark.parametrize("options", [{"tau": 0.0}, {"learning_rate": -1.0}, {"beta1": 1.0}, {"beta2": -0.1}])
def test_illegal_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        FedAdam.Config(**options)
