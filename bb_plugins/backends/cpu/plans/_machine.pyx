"""Runs the steps of a plan, and multiplies matrices by SciPy's BLAS."""

cimport cython
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.stdint cimport int64_t

import numpy as np

cnp.import_array()

cdef sgemm_t _sgemm = NULL

cdef int64_t SMALL = 1000000  # multiplications up to which OpenBLAS has kernels for small matrices (with AVX-512)
cdef int64_t THIN = 64
cdef int64_t WIDE = 128


def address_in(capsule) -> int:
    """Return the address that a capsule holds, such as one of `scipy.linalg.cython_blas.__pyx_capi__`."""
    return <int64_t>PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


def multiplier(int64_t sgemm) -> int:
    """Return the address of the kernel that multiplies matrices, by BLAS's product at the address that is given.

    Parameters: how many products, whether a and b are transposed, m, n, k, the bits of alpha and beta (f32), a, b, out
    (buffer and offset each), and how many bytes further a, b and out of the next product are.
    """
    global _sgemm
    _sgemm = <sgemm_t>sgemm
    return <int64_t>&_multiply


cdef void _multiply(int64_t params, int64_t bases) noexcept nogil:
    cdef int64_t *p = <int64_t *>params
    cdef int64_t *base = <int64_t *>bases
    cdef char *a = <char *>(base[p[8]] + p[9])
    cdef char *b = <char *>(base[p[10]] + p[11])
    cdef char *out = <char *>(base[p[12]] + p[13])
    cdef int64_t i
    for i in range(p[0]):
        _product(
            p[1], p[2], p[3], p[4], p[5], (<float *>(p + 6))[0], (<float *>(p + 7))[0],
            <float *>(a + i * p[14]), p[3] if p[1] else p[5], <float *>(b + i * p[15]), p[5] if p[2] else p[4],
            <float *>(out + i * p[16]), p[4],
        )


cdef void _product(
    bint turn_a, bint turn_b, int64_t m, int64_t n, int64_t k, float alpha, float beta,
    float *a, int64_t lda, float *b, int64_t ldb, float *out, int64_t ldo
) noexcept nogil:
    """out (m, n) = alpha a b + beta out, row by row.

    A thin product is done in blocks: OpenBLAS's kernels for small matrices take them as they lie, and its others lay
    out copies first, which costs more than a thin product itself.
    """
    cdef int64_t some_m = m, some_n = n, some_k = k, i = 0, j, at
    if m * n * k > SMALL and (m <= THIN or n <= THIN) and not turn_b:
        some_m = min(m, THIN)
        some_n = min(n, WIDE)
        some_k = min(k, SMALL // (some_m * some_n) // 16 * 16)
    while i < m:
        j = 0
        while j < n:
            at = 0
            while at < k:
                _block(
                    turn_a, turn_b, <int>min(some_m, m - i), <int>min(some_n, n - j), <int>min(some_k, k - at),
                    alpha, beta if at == 0 else 1,
                    a + (at * lda + i if turn_a else i * lda + at), <int>lda,
                    b + (j * ldb + at if turn_b else at * ldb + j), <int>ldb,
                    out + i * ldo + j, <int>ldo,
                )
                at += some_k
            j += some_n
        i += some_m


cdef void _block(
    bint turn_a, bint turn_b, int m, int n, int k, float alpha, float beta,
    float *a, int lda, float *b, int ldb, float *out, int ldo
) noexcept nogil:
    """By BLAS, which takes columns first: the transposed product, of the transposed factors in the other order."""
    cdef char of_a = b"T" if turn_a else b"N"
    cdef char of_b = b"T" if turn_b else b"N"
    _sgemm(&of_b, &of_a, &n, &m, &k, &alpha, b, &ldb, a, &lda, &beta, out, &ldo)


def convolver() -> int:
    """Return the address of the kernel that convolves a batch of images; `multiplier` comes first.

    Parameters: images, groups, filters of a group, channels of a group times places of the kernel, places along height
    and width, lines that are done together, the address of the kernel that lays windows out (0 where windows are single
    elements of the whole image), the bits of beta, bytes of an image's group of channels · x, filters, out, scratch
    (buffer and offset each) · the window.
    """
    return <int64_t>&_convolve


cdef void _convolve(int64_t params, int64_t bases) noexcept nogil:
    cdef int64_t *p = <int64_t *>params
    cdef int64_t *base = <int64_t *>bases
    cdef int64_t groups = p[1], m = p[2], deep = p[3], height = p[4], width = p[5], lines = p[6]
    cdef columns_t lay_out = <columns_t>p[7]
    cdef float beta = (<float *>(p + 8))[0]
    cdef int64_t x = base[p[10]] + p[11], columns = base[p[16]] + p[17]
    cdef float *weight = <float *>(base[p[12]] + p[13])
    cdef float *out = <float *>(base[p[14]] + p[15])
    cdef int64_t at, line, some, group
    for at in range(p[0] * groups):
        group = at % groups
        line = 0
        while line < height:
            some = min(lines, height - line)
            if lay_out != NULL:
                lay_out(x + at * p[9], columns, <int64_t>(p + 18), line, some)
                _product(
                    False, False, m, some * width, deep, 1, beta, weight + group * m * deep, deep, <float *>columns,
                    some * width, out + at * m * height * width + line * width, height * width,
                )
            else:
                _product(
                    False, False, m, some * width, deep, 1, beta, weight + group * m * deep, deep,
                    <float *>(x + at * p[9]) + line * width, height * width,
                    out + at * m * height * width + line * width, height * width,
                )
            line += lines


def filter_gradient() -> int:
    """Return the address of the kernel that sums what each image says of a convolution's filters; see `convolver`.

    Parameters: images, filters, channels times places of the kernel, places along height and width, the address of the
    kernel that lays windows out, bytes of an image · x, gradient by the convolution's output (images, places, filters),
    out (channels times places of the kernel, filters), scratch (buffer and offset each) · the window.
    """
    return <int64_t>&_filter_gradient


cdef void _filter_gradient(int64_t params, int64_t bases) noexcept nogil:
    cdef int64_t *p = <int64_t *>params
    cdef int64_t *base = <int64_t *>bases
    cdef int64_t m = p[1], deep = p[2], places = p[3] * p[4]
    cdef columns_t lay_out = <columns_t>p[5]
    cdef int64_t x = base[p[7]] + p[8], columns = base[p[13]] + p[14]
    cdef float *grad = <float *>(base[p[9]] + p[10])
    cdef float *out = <float *>(base[p[11]] + p[12])
    cdef int64_t at
    for at in range(p[0]):
        lay_out(x + at * p[6], columns, <int64_t>(p + 15), 0, p[3])
        _product(
            False, False, deep, m, places, 1, 0 if at == 0 else 1, <float *>columns, places, grad + at * m * places, m,
            out, m,
        )


@cython.final
cdef class Call:
    """A step that is Python: a kernel, and where its inputs are taken from and its outputs go.

    Args:
        kernel: Takes arrays, None for an absent one; returns one output or a tuple.
        inputs: Places of its inputs.
        outputs: Places of its outputs; -1 for one that nobody asks for.
        bound: For each output the buffer by which kernels read it, or -1.
        kinds: For each output that is bound its dtype and shape.
    """

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
        cdef tuple row
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
