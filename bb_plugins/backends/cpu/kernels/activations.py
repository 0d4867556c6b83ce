"""Functions of single elements that numpy lacks, over whole arrays."""

from __future__ import annotations

from bb_plugins.backends.cpu.kernels import functions
from bb_plugins.backends.cpu.kernels._jit import kernel


@kernel
def erf(x, out):
    """Write the error function of x; both are (n,) f32."""
    for i in range(x.shape[0]):
        out[i] = functions.erf(x[i])


@kernel
def gelu(x, out):
    """Write x (1 + erf(x / sqrt(2))) / 2; both are (n,) f32."""
    for i in range(x.shape[0]):
        out[i] = functions.gelu(x[i])
