"""Runs the steps of a plan, and multiplies matrices by SciPy's BLAS."""

cimport cython
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.stdint cimport int64_t

import numpy as np

cnp.import_array()

ctypedef void (*native_t)(int64_t params, int64_t bases) noexcept nogil
ctypedef void (*sgemm_t)(
    char *, char *, int *, int *, int *, float *, float *, int *, float *, int *, float *, float *, int *
) noexcept nogil

cdef sgemm_t _sgemm = NULL


def use_blas(capsule) -> None:
    """Take the matrix product that a capsule holds: `scipy.linalg.cython_blas.__pyx_capi__["sgemm"]`."""
    global _sgemm
    _sgemm = <sgemm_t>PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


def multiplier() -> int:
    """Return the address of the kernel that multiplies matrices.

    Parameters: how many products, whether a and b are transposed, m, n, k, the bits of alpha and beta (f32), a, b, out
    (buffer and offset each), and how many bytes further a, b and out of the next product are.
    """
    assert _sgemm != NULL, "use_blas comes first"
    return <int64_t>&_multiply


cdef void _multiply(int64_t params, int64_t bases) noexcept nogil:
    cdef int64_t *p = <int64_t *>params
    cdef int64_t *base = <int64_t *>bases
    cdef int m = <int>p[3], n = <int>p[4], k = <int>p[5]
    cdef char trans_a = b"T" if p[1] else b"N"
    cdef char trans_b = b"T" if p[2] else b"N"
    cdef int lda = m if p[1] else k
    cdef int ldb = k if p[2] else n
    cdef float alpha = (<float *>(p + 6))[0]
    cdef float beta = (<float *>(p + 7))[0]
    cdef char *a = <char *>(base[p[8]] + p[9])
    cdef char *b = <char *>(base[p[10]] + p[11])
    cdef char *out = <char *>(base[p[12]] + p[13])
    cdef int64_t i
    # BLAS takes columns first: the transposed product, of the transposed factors in the other order.
    for i in range(p[0]):
        _sgemm(
            &trans_b, &trans_a, &n, &m, &k, &alpha, <float *>(b + i * p[15]), &ldb, <float *>(a + i * p[14]), &lda,
            &beta, <float *>(out + i * p[16]), &n,
        )


cdef class Call:
    """A step that is Python: a kernel, and where its inputs are taken from and its outputs go.

    Args:
        kernel: Takes arrays, None for an absent one; returns one output or a tuple.
        inputs: Places of its inputs.
        outputs: Places of its outputs; -1 for one that nobody asks for.
        bound: For each output the buffer by which kernels read it, or -1.
        kinds: For each output that is bound its dtype and shape.
    """

    cdef object kernel
    cdef tuple inputs, outputs, bound, kinds

    def __init__(self, kernel, tuple inputs, tuple outputs, tuple bound, tuple kinds) -> None:
        self.kernel = kernel
        self.inputs = inputs
        self.outputs = outputs
        self.bound = bound
        self.kinds = kinds


class ShapeChanged(Exception):
    """A Python step has given what the plan was not made for."""


@cython.final
cdef class Machine:
    """A plan with memory of its own. It is not for two threads at once.

    Args:
        schedule: Calls, and pairs (first, behind the last) of steps.
        steps: (n, 2) i64: the address of each kernel, and where its parameters begin.
        params: Of all steps, i64.
        bases: The base address of each buffer, i64; those of inputs, outputs and calls are filled in when it runs.
        values: What stands in each place, arrays for those that never move and None for others.
        inputs: For each input its dtype, shape, place, and its buffer or -1.
        made: For each output that kernels write its dtype, shape, place and buffer.
        shown: For each view of an input that Python reads: place, place of what it shows, shape.
        results: For each output of the plan its place, and its shape if it is the view of another, else None.
        owned: Memory that must not be given away: results that lie in it are copied. Or None.
    """

    cdef list schedule, values
    cdef tuple inputs, made, shown, results
    cdef object steps, params, bases, owned
    cdef int64_t *step_at
    cdef int64_t param_at, base_at
    cdef int64_t *base

    def __init__(self, list schedule, steps, params, bases, list values, tuple inputs, tuple made, tuple shown,
                 tuple results, owned) -> None:
        self.schedule = schedule
        self.values = values
        self.inputs = inputs
        self.made = made
        self.shown = shown
        self.results = results
        self.steps, self.params, self.bases, self.owned = steps, params, bases, owned
        self.step_at = <int64_t *>cnp.PyArray_DATA(steps)
        self.param_at = <int64_t>cnp.PyArray_DATA(params)
        self.base_at = <int64_t>cnp.PyArray_DATA(bases)
        self.base = <int64_t *>self.base_at

    def fits(self, tuple given) -> bool:
        """Say whether inputs have the types and shapes that the plan was made for."""
        cdef tuple row
        cdef Py_ssize_t at = 0, i
        cdef cnp.ndarray array
        if len(given) != len(self.inputs):
            return False
        for row in self.inputs:
            if type(given[at]) is not np.ndarray:
                return False
            array = <cnp.ndarray>given[at]
            if cnp.PyArray_NDIM(array) != len(<tuple>row[1]) or cnp.PyArray_TYPE(array) != (<cnp.dtype>row[0]).type_num:
                return False
            for i in range(len(<tuple>row[1])):
                if cnp.PyArray_DIM(array, <int>i) != <Py_ssize_t>(<tuple>row[1])[i]:
                    return False
            at += 1
        return True

    def run(self, tuple given) -> tuple:
        """Return the outputs for inputs that fit.

        Raises:
            ShapeChanged: a step in Python has given another shape or type than at the trial.
        """
        cdef list values = self.values[:]
        cdef cnp.ndarray array
        cdef tuple row, wanted
        cdef int64_t first, last, i
        cdef Py_ssize_t at = 0
        for row in self.inputs:
            array = _ready(given[at], <cnp.dtype>row[0])
            values[<Py_ssize_t>row[2]] = array
            if <int64_t>row[3] >= 0:
                self.base[<int64_t>row[3]] = <int64_t>cnp.PyArray_DATA(array)
            at += 1
        for row in self.made:
            array = _empty(<cnp.dtype>row[0], <tuple>row[1])
            values[<Py_ssize_t>row[2]] = array
            self.base[<int64_t>row[3]] = <int64_t>cnp.PyArray_DATA(array)
        for row in self.shown:
            values[<Py_ssize_t>row[0]] = values[<Py_ssize_t>row[1]].reshape(row[2])
        for item in self.schedule:
            if type(item) is tuple:
                first, last = item
                with nogil:
                    for i in range(first, last):
                        (<native_t>self.step_at[2 * i])(self.param_at + 8 * self.step_at[2 * i + 1], self.base_at)
            else:
                self._call(<Call>item, values)
        found = []
        for row in self.results:
            value = values[<Py_ssize_t>row[0]]
            if row[1] is not None:
                value = value.reshape(row[1])
            if row[2] and self.owned is not None and np.may_share_memory(value, self.owned):
                value = value.copy()
            found.append(value)
        return tuple(found)

    cdef int _call(self, Call call, list values) except -1:
        cdef Py_ssize_t i, at
        cdef cnp.ndarray array
        found = call.kernel(*[values[<Py_ssize_t>place] for place in call.inputs])
        if type(found) is not tuple:
            found = (found,)
        for i in range(min(len(<tuple>found), len(call.outputs))):
            at = call.outputs[i]
            if at < 0:
                continue
            value = (<tuple>found)[i]
            if isinstance(value, np.generic):
                value = np.asarray(value)
            if <int64_t>call.bound[i] >= 0:
                dtype, shape = call.kinds[i]
                if value.dtype != dtype or value.shape != shape:
                    raise ShapeChanged
                array = _ready(value, <cnp.dtype>dtype)
                self.base[<int64_t>call.bound[i]] = <int64_t>cnp.PyArray_DATA(array)
                value = array
            values[at] = value
        return 0


cdef cnp.ndarray _ready(object array, cnp.dtype dtype):
    """An array row by row and aligned, itself if it is so already."""
    if cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array):
        return <cnp.ndarray>array
    return <cnp.ndarray>np.require(array, dtype, ["C", "A"])


cdef cnp.ndarray _empty(cnp.dtype dtype, tuple shape):
    cdef cnp.npy_intp dims[32]
    cdef Py_ssize_t i
    for i in range(len(shape)):
        dims[i] = shape[i]
    return <cnp.ndarray>cnp.PyArray_SimpleNew(<int>len(shape), dims, dtype.type_num)
