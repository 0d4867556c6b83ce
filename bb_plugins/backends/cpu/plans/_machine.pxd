# cython: language_level=3
"""Layout of what runs plans: read it as a header. What each thing is for stands in `_machine.pyx`."""

cimport cython
from libc.stdint cimport int64_t

ctypedef void (*native_t)(int64_t params, int64_t bases) noexcept nogil
ctypedef void (*columns_t)(int64_t x, int64_t out, int64_t window, int64_t line, int64_t lines) noexcept nogil
ctypedef void (*sgemm_t)(
    char *, char *, int *, int *, int *, float *, float *, int *, float *, int *, float *, float *, int *
) noexcept nogil


@cython.final
cdef class Call:
    cdef object kernel
    cdef tuple inputs, outputs, bound, kinds


@cython.final
cdef class Machine:
    cdef list schedule, values
    cdef tuple inputs, made, shown, results
    cdef object steps, params, bases, owned
    cdef int64_t *step_at
    cdef int64_t param_at, base_at
    cdef int64_t *base

    cdef int _call(self, Call call, list values) except -1
