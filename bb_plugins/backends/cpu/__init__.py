"""The CPU Backend: numba kernels and BLAS."""
