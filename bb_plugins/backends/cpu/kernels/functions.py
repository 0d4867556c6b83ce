"""Functions of one float32, written so that loops over them become vector code. numba has no vector library here.

Polynomials are Chebyshev interpolations. NaN stays NaN, and what overflows is infinite. The largest errors, in units of
the last place: exp 1.1, log 0.8, sigmoid 2.5, tanh and erf 6; softplus 2.8 above -80, from where on it goes to zero.
"""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.kernels._jit import inlined
from bb_plugins.backends.cpu.kernels._memory import bits_of_float, float_of_bits, select

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)

# exp: x = n ln 2 + r, |r| <= ln(2) / 2, and exp(r) = 1 + r + r^2 P(r). Adding _ROUNDER leaves n in a float's low bits.
_LOG2E, _LN2_HIGH, _LN2_LOW = np.float32(1.4426950408889634), np.float32(0.693359375), np.float32(-2.12194440e-4)
_ROUNDER = np.float32(12582912.0)
_ROUNDER_BITS = np.int32(0x4B400000)
_EXP_LOWEST, _EXP_NORMAL, _EXP_HIGHEST = np.float32(-104.0), np.float32(-87.0), np.float32(89.0)
_E0, _E1, _E2, _E3, _E4 = (
    np.float32(c) for c in (0.5, 0.1666657030582428, 0.04166654497385025, 0.008364380337297916, 0.0013927684631198645)
)

# log: x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), and log(1 + f) = f - f^2 / 2 + f^3 P(f).
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = (
    np.float32(c)
    for c in (0.3333333134651184, -0.2499999701976776, 0.20000715553760529, -0.1666780263185501, 0.14249058067798615,
              -0.12425687164068222, 0.11685419827699661, -0.11479733884334564, 0.06971611827611923)
)  # fmt: skip
_ROOT_HALF_BITS, _MANTISSA = np.int32(0x3F3504F3), np.int32(23)
_SMALLEST_NORMAL, _TWO_24 = np.float32(1.17549435e-38), np.float32(16777216.0)
_INFINITE, _NOT_A_NUMBER = np.float32(np.inf), np.float32(np.nan)

# erf(x) = x P(x^2) / Q(x^2) up to 3.9, beyond which it is 1; tanh likewise up to 8.6. Rational functions with the least
# largest relative error, by Lawson's iteration.
_ERF_P = tuple(
    np.float32(c)
    for c in (
        1.1283791065216064, 0.18965771794319153, 0.05266672745347023,
        0.003737916937097907, 0.0002850462624337524, 2.0664595012931386e-06,
    )
)  # fmt: skip
_ERF_Q = tuple(
    np.float32(c)
    for c in (
        1.0, 0.501412570476532, 0.1138150542974472,
        0.01491341833025217, 0.0011572606163099408, 3.826904867310077e-05,
    )
)  # fmt: skip
_ERF_FLAT = np.float32(3.9)
_TANH_P = tuple(
    np.float32(c)
    for c in (
        1.0, 0.13805261254310608, 0.00403393292799592,
        3.2146770536201075e-05, 5.275583347952306e-08,
    )
)  # fmt: skip
_TANH_Q = tuple(
    np.float32(c)
    for c in (
        1.0, 0.4713859558105469, 0.027829257771372795,
        0.0004253533552400768, 1.6610473494438338e-06, 7.780543431756826e-10,
    )
)  # fmt: skip
_TANH_FLAT = np.float32(8.6)
_ROOT_HALF = np.float32(0.7071067811865476)


@inlined
def _exp_parts(x):
    """Return y and n such that e^x = y 2^n."""
    shifted = x * _LOG2E + _ROUNDER
    whole = shifted - _ROUNDER
    r = x - whole * _LN2_HIGH
    r = r - whole * _LN2_LOW
    p = _E4
    p = p * r + _E3
    p = p * r + _E2
    p = p * r + _E1
    p = p * r + _E0
    return p * r * r + r + _ONE, bits_of_float(shifted) - _ROUNDER_BITS


@inlined
def exp_falling(x):
    """e^x for x <= 0; zero below -87, where it is no normal number."""
    y, n = _exp_parts(select(x < _EXP_NORMAL, _EXP_NORMAL, x))
    return select(x < _EXP_NORMAL, _ZERO, y * float_of_bits((n + np.int32(127)) << _MANTISSA))


@inlined
def exp(x):
    """e^x."""
    near = select(x > _EXP_HIGHEST, _EXP_HIGHEST, select(x < _EXP_LOWEST, _EXP_LOWEST, x))
    y, n = _exp_parts(near)
    half = n >> np.int32(1)  # 2^n in two factors: neither overflows when n is 128, and subnormals are reached
    y = y * float_of_bits((half + np.int32(127)) << _MANTISSA)
    return y * float_of_bits((n - half + np.int32(127)) << _MANTISSA)


@inlined
def log(x):
    """The natural logarithm: NaN below zero, minus infinity at zero."""
    small = x < _SMALLEST_NORMAL
    scaled = select(small, x * _TWO_24, x)
    bits = bits_of_float(scaled)
    k = (bits - _ROOT_HALF_BITS) >> _MANTISSA
    f = float_of_bits(bits - (k << _MANTISSA)) - _ONE
    whole = np.float32(k) - select(small, np.float32(24), _ZERO)
    p = _L8
    p = p * f + _L7
    p = p * f + _L6
    p = p * f + _L5
    p = p * f + _L4
    p = p * f + _L3
    p = p * f + _L2
    p = p * f + _L1
    p = p * f + _L0
    squared = f * f
    y = squared * f * p + whole * _LN2_LOW
    y = y - _HALF * squared
    y = (f + y) + whole * _LN2_HIGH
    y = select(x > _ZERO, y, select(x == _ZERO, -_INFINITE, _NOT_A_NUMBER))
    return select(x < _INFINITE, y, x + x)  # infinity and NaN as they are


@inlined
def log1p(u):
    """log(1 + u) for 0 <= u <= 1, right for small u too (Kahan)."""
    w = _ONE + u
    rest = w - _ONE
    return select(rest == _ZERO, u, log(w) * (u / rest))


@inlined
def _bounded(x, most):
    """x, or the nearest of -most and most; NaN stays NaN."""
    return select(x > most, most, select(x < -most, -most, x))


@inlined
def tanh(x):
    """The hyperbolic tangent."""
    near = _bounded(x, _TANH_FLAT)
    z = near * near
    p = _TANH_P[4]
    p = p * z + _TANH_P[3]
    p = p * z + _TANH_P[2]
    p = p * z + _TANH_P[1]
    p = p * z + _TANH_P[0]
    q = _TANH_Q[5]
    q = q * z + _TANH_Q[4]
    q = q * z + _TANH_Q[3]
    q = q * z + _TANH_Q[2]
    q = q * z + _TANH_Q[1]
    q = q * z + _TANH_Q[0]
    return _bounded(near * p / q, _ONE)


@inlined
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return _ONE / (_ONE + exp(-x))


@inlined
def softplus(x):
    """log(1 + e^x)."""
    rest = log1p(exp_falling(-abs(x)))
    return select(x > _ZERO, x + rest, rest)


@inlined
def erf(x):
    """The error function."""
    near = _bounded(x, _ERF_FLAT)
    z = near * near
    p = _ERF_P[5]
    p = p * z + _ERF_P[4]
    p = p * z + _ERF_P[3]
    p = p * z + _ERF_P[2]
    p = p * z + _ERF_P[1]
    p = p * z + _ERF_P[0]
    q = _ERF_Q[5]
    q = q * z + _ERF_Q[4]
    q = q * z + _ERF_Q[3]
    q = q * z + _ERF_Q[2]
    q = q * z + _ERF_Q[1]
    q = q * z + _ERF_Q[0]
    return _bounded(near * p / q, _ONE)


@inlined
def gelu(x):
    """X (1 + erf(x / sqrt(2))) / 2, the Gaussian error linear unit (Hendrycks and Gimpel 2016)."""
    return _HALF * x * (_ONE + erf(x * _ROOT_HALF))
