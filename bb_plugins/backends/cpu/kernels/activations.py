"""Functions of single elements that numpy lacks, in float32.

erf(x) = x g(x^2 / 8 - 1) for |x| <= 4, beyond which it is 1 in float32. g is a polynomial of degree 15: Chebyshev
interpolation of erf(x) / x, whose largest relative error, rounding included, is 3e-7.
"""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.kernels._jit import kernel

_G = tuple(
    np.float32(c)
    for c in (
        0.35353097319602966, -0.176576167345047, 0.13167732954025269, -0.10771336406469345, 0.09016311913728714,
        -0.07468753308057785, 0.06024739891290665, -0.046014320105314255, 0.031679343432188034,
        -0.021662531420588493, 0.017188483849167824, -0.010085906833410263, 0.0017006007255986333,
        -0.0010769420769065619, 0.0030023111030459404, -0.0013728151097893715,
    )
)  # fmt: skip
_ONE, _FOUR, _EIGHTH, _HALF = np.float32(1), np.float32(4), np.float32(0.125), np.float32(0.5)
_ROOT = np.float32(0.7071067811865476)


@kernel
def _erf(x):
    """One element. Comparisons are such that NaN stays NaN."""
    near = x
    if near > _FOUR:
        near = _FOUR
    elif near < -_FOUR:
        near = -_FOUR
    z = near * near * _EIGHTH - _ONE
    g = _G[15]
    g = g * z + _G[14]
    g = g * z + _G[13]
    g = g * z + _G[12]
    g = g * z + _G[11]
    g = g * z + _G[10]
    g = g * z + _G[9]
    g = g * z + _G[8]
    g = g * z + _G[7]
    g = g * z + _G[6]
    g = g * z + _G[5]
    g = g * z + _G[4]
    g = g * z + _G[3]
    g = g * z + _G[2]
    g = g * z + _G[1]
    g = g * z + _G[0]
    y = g * near
    if y > _ONE:
        y = _ONE
    elif y < -_ONE:
        y = -_ONE
    return y


@kernel
def erf(x, out):
    """Write the error function of x; both are (n,) f32."""
    for i in range(x.shape[0]):
        out[i] = _erf(x[i])


@kernel
def gelu(x, out):
    """Write x (1 + erf(x / sqrt(2))) / 2; both are (n,) f32."""
    for i in range(x.shape[0]):
        out[i] = _HALF * x[i] * (_ONE + _erf(x[i] * _ROOT))
