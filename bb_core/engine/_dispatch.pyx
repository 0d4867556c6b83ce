# cython: language_level=3
"""The dispatch loop over flat tables. `dispatch.py` documents and re-exports it.

Theory of operation. Writing a value counts down what each of its readers still waits for; an op that waits for nothing
more is appended to its Frame's `ready` array, which has room for every op, since an op becomes ready once in a Frame's
life. The loop takes Frames first in, first out, and runs a Frame's ready ops in the order in which they became ready.
A value is dropped after its last reader, a Frame when nothing in it is ready or open.

An exclusive op makes its Frame claim all exclusive components of its entry together; Frames that cannot are blocked in
order of their age. A Frame lets go when its last exclusive op is done, when it ends, or while it only waits for peers.
"""

from collections import deque

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.string cimport memcpy

from numpy import ndarray

from bb_core.engine.answers import Promised, checked


cdef extern from "Python.h":
    PyObject* PyObject_Vectorcall(PyObject* func, PyObject** args, size_t nargsf, PyObject* kwnames) except NULL


cdef extern from "bb_frontier.h":
    size_t bb_mark_written(
        const int32_t *at, const int32_t *consumers, int32_t value, int32_t *need, int32_t *ready
    ) nogil
    int bb_mark_read(int32_t *readers, int32_t value) nogil


@cython.final
cdef class Table:
    """A function as flat tables; made by `program.py`, shared by all Nodes.

    Args:
        waits: For each op the distinct values that it waits for; constants are not among them.
        inputs: For each op the values that it is called with, -1 for an absent one.
        outputs: For each op the values that it writes, -1 for one that nobody reads.
        constants: (value, item) pairs that every Frame holds from the start.
        any_of: Ops that are ready as soon as one of their values is written.
    """

    def __cinit__(
        self, str name, int n_values, list waits, list inputs, list outputs, tuple constants,
        frozenset any_of=frozenset()
    ):
        cdef int n_ops = len(waits)
        consumers = [[] for _ in range(n_values)]
        for op, values in enumerate(waits):
            for value in values:
                if not 0 <= value < n_values:
                    raise ValueError("a value's index is outside the table")
                consumers[value].append(op)
        for rows in (inputs, outputs):
            if len(rows) != n_ops:
                raise ValueError("the tables have different numbers of ops")
            for row in rows:
                for value in row:
                    if not -1 <= value < n_values:
                        raise ValueError("a value's index is outside the table")
        for row in inputs:
            if len(row) > MAX_ARGUMENTS // 2:
                raise ValueError(f"an op has more than {MAX_ARGUMENTS // 2} inputs")
        flat = [_csr(consumers), _csr(waits), _csr(inputs), _csr(outputs)]
        needs = [min(len(w), 1) if op in any_of else len(w) for op, w in enumerate(waits)]
        counts = [needs, [len(c) for c in consumers]]
        size = sum(len(at) + len(items) for at, items in flat) + n_ops + n_values
        self._block = <int32_t *>PyMem_Malloc((size + 1) * sizeof(int32_t))
        if self._block is NULL:
            raise MemoryError
        self.name, self.n_values, self.n_ops, self.constants = name, n_values, n_ops, constants
        cdef int32_t *at = self._block
        self.consumer_at = at
        at += self._fill(at, flat[0][0])
        self.consumers = at
        at += self._fill(at, flat[0][1])
        self.waits_at = at
        at += self._fill(at, flat[1][0])
        self.waits = at
        at += self._fill(at, flat[1][1])
        self.input_at = at
        at += self._fill(at, flat[2][0])
        self.inputs = at
        at += self._fill(at, flat[2][1])
        self.output_at = at
        at += self._fill(at, flat[3][0])
        self.outputs = at
        at += self._fill(at, flat[3][1])
        self.need = at
        at += self._fill(at, counts[0])
        self.readers = at
        self._fill(at, counts[1])

    def __dealloc__(self):
        PyMem_Free(self._block)

    cdef int _fill(self, int32_t *into, object numbers) except -1:
        cdef int i = 0
        for number in numbers:
            into[i] = number
            i += 1
        return i


def _csr(rows):
    at, items = [0], []
    for row in rows:
        items.extend(row)
        at.append(len(items))
    return at, items


@cython.final
cdef class Handler:
    """One op as one Node runs it: what to call, with what beside the inputs, and what must come back."""

    def __cinit__(
        self, object call, bint takes_context, tuple leading, dict keywords, tuple output_classes,
        tuple optional_outputs, bint exclusive, object info
    ):
        if len(leading) + len(keywords) > MAX_ARGUMENTS // 2 - 1:
            raise ValueError(f"an op has more than {MAX_ARGUMENTS // 2 - 1} attributes and slots")
        self.call, self.takes_context, self.leading = call, takes_context, leading
        self.keyword_names = tuple(keywords) or None
        self.keyword_values = tuple(keywords.values())
        self.output_classes, self.optional_outputs = output_classes, optional_outputs
        self.only_class = output_classes[0] if len(output_classes) == 1 else None
        self.exclusive, self.info = exclusive, info
        self.calls = self.spent_ns = 0


@cython.final
cdef class Frame:
    """One execution of one entry. Made by `Dispatcher.begin`."""

    def __cinit__(
        self, Table table, list handlers, object exec_id, object inbound, bytes origin, tuple claims,
        int32_t exclusive_ops
    ):
        cdef Py_ssize_t n_ops = table.n_ops, n_values = table.n_values
        self.need = <int32_t *>PyMem_Malloc((2 * n_ops + n_values + 1) * sizeof(int32_t))
        if self.need is NULL:
            raise MemoryError
        self.ready = self.need + n_ops
        self.readers = self.ready + n_ops
        memcpy(self.need, table.need, n_ops * sizeof(int32_t))
        memcpy(self.readers, table.readers, n_values * sizeof(int32_t))
        self.table, self.handlers, self.exec_id = table, handlers, exec_id
        self.inbound, self.origin, self.claims = inbound, origin, claims
        self.exclusive_left = exclusive_ops
        self.values = [None] * n_values
        self.requests = []
        self.on_end = None
        self.head = self.tail = self.waiting = self.on_network = 0
        self.claimed = self.queued = self.ended = False
        for value, item in table.constants:
            self.values[value] = item

    def __dealloc__(self):
        PyMem_Free(self.need)

    def write_late(self, int32_t value, object item):
        """Store a value that nothing in the table writes, unless it is there already; for what watches failures."""
        if not 0 <= value < self.table.n_values:
            raise IndexError(value)
        if self.values[value] is None:
            self.write(value, item)

    cpdef void write(self, int32_t value, object item):
        """Store a value and make ready the ops that waited for it alone. `value` is an index of the table."""
        cdef Table table = self.table
        self.values[value] = item
        self.tail += <int32_t>bb_mark_written(
            table.consumer_at, table.consumers, value, self.need, self.ready + self.tail
        )

    cdef void _start(self, int32_t op):
        """Make ready an op that has nothing to wait for."""
        self.ready[self.tail] = op
        self.tail += 1

    cdef void _finish(self, int32_t op):
        """Drop the values that this op was the last to read."""
        cdef Table table = self.table
        cdef int32_t i
        for i in range(table.waits_at[op], table.waits_at[op + 1]):
            if bb_mark_read(self.readers, table.waits[i]):
                self.values[table.waits[i]] = None
        if (<Handler>self.handlers[op]).exclusive:
            self.exclusive_left -= 1

    @property
    def is_idle(self):
        """Whether no op is ready."""
        return self.head == self.tail

    def held_values(self):
        """How many values are held, for tests and `explain`."""
        return sum(v is not None for v in self.values)

    def missing(self, int32_t op):
        """The values that an op still waits for, by index, for `explain`."""
        cdef Table table = self.table
        if not 0 <= op < table.n_ops:
            raise IndexError(op)
        return [
            table.waits[i] for i in range(table.waits_at[op], table.waits_at[op + 1])
            if self.values[table.waits[i]] is None
        ] if self.need[op] > 0 else []


@cython.final
cdef class Dispatcher:
    """The loop of one Node.

    Args:
        context: The object that every Concrete is given; its `frame`, `op` and `handler` are set before each call.
        services: Has `failed(frame, op, handler, error)`.
        clock: Measures the time spent in each op when given; the core itself has no clock.
    """

    def __cinit__(self, object context, object services, object clock=None):
        self.context, self.services, self.clock = context, services, clock
        self.frames = deque()
        self.owners = {}
        self.blocked = []
        self.live = set()

    def held_back(self):
        """The Frames that wait for exclusive slots, oldest first, each with who holds those; for `explain`."""
        found = []
        for frame in sorted(self.blocked, key=_age):
            owners = {self.owners[c] for c in (<Frame>frame).claims if c in self.owners}
            found.append((frame, sorted(owners, key=_age)))
        return found

    @property
    def has_work(self):
        """Whether an op is ready that no claim holds back."""
        return bool(self.frames)

    cpdef Frame begin(
        self, Table table, list handlers, object exec_id, object inbound, bytes origin, tuple claims,
        int32_t exclusive_ops, object seeds, object starts
    ):
        """Begin a Frame: write its seeds, make ready its starts, and queue it.

        Args:
            seeds: (value, item) pairs.
            starts: Ops that have nothing to wait for.
        """
        cdef Frame frame = Frame(table, handlers, exec_id, inbound, origin, claims, exclusive_ops)
        cdef int32_t index
        for op in starts:
            index = op
            if not 0 <= index < table.n_ops:
                raise IndexError(op)
            frame._start(index)
        for value, item in seeds:
            index = value
            if not 0 <= index < table.n_values:
                raise IndexError(value)
            frame.write(index, item)
        self.live.add(frame)
        self._enqueue(frame)
        return frame

    cpdef int64_t run(self, int64_t budget) except -1:
        """Run ready ops until none is left or the budget is spent. Returns how many ran."""
        cdef int64_t done = 0
        cdef Frame frame
        cdef int32_t op
        while self.frames and done < budget:
            frame = self.frames.popleft()
            frame.queued = False
            while frame.head < frame.tail and done < budget:
                op = frame.ready[frame.head]
                if (<Handler>frame.handlers[op]).exclusive and not frame.claimed and not self._claim(frame):
                    self.blocked.append(frame)
                    frame.queued = True
                    break
                frame.head += 1
                done += 1
                self._dispatch(frame, op)
            if not frame.queued:
                if frame.head < frame.tail:
                    frame.queued = True
                    self.frames.appendleft(frame)
                else:
                    self._settle(frame)
        return done

    cpdef bint answer(self, Frame frame, int32_t op, object result, bint network):
        """Give the outputs of an op that promised them. Returns False when the Frame is gone."""
        cdef Handler handler
        if frame.ended:
            return False
        frame.waiting -= 1
        if network:
            frame.on_network -= 1
        handler = frame.handlers[op]
        try:
            self._write_outputs(frame, op, handler, result)
        except Exception as error:
            self.services.failed(frame, op, handler, error)
        frame._finish(op)
        self._enqueue(frame)
        return True

    cpdef void abandon(self, Frame frame, int32_t op, bint network):
        """End the branch of an op that promised an answer and failed; its readers never run."""
        if frame.ended:
            return
        frame.waiting -= 1
        if network:
            frame.on_network -= 1
        frame._finish(op)
        self._enqueue(frame)

    cdef int _dispatch(self, Frame frame, int32_t op) except -1:
        cdef Handler handler = frame.handlers[op]
        cdef int64_t began
        cdef object result
        try:
            if handler.call is None:
                result = frame.values[frame.table.inputs[frame.table.input_at[op]]]
            elif self.clock is None:
                result = self._call(frame, op, handler)
            else:
                began = self.clock()
                try:
                    result = self._call(frame, op, handler)
                finally:
                    handler.spent_ns += self.clock() - began
            handler.calls += 1
            if type(result) is Promised:
                (<object>result).park(frame, op)
                return 0
            self._write_outputs(frame, op, handler, result)
        except Exception as error:
            self.services.failed(frame, op, handler, error)
        frame._finish(op)
        return 0

    cdef object _call(self, Frame frame, int32_t op, Handler handler):
        # At most 1 + 31 + 32 arguments: Handler and Table have refused more, so `args` cannot overflow.
        cdef PyObject* args[MAX_ARGUMENTS + 1]
        cdef PyObject* result
        cdef PyObject* names = NULL
        cdef size_t n = 1  # args[0] is left to the callee (PY_VECTORCALL_ARGUMENTS_OFFSET)
        cdef size_t positional
        cdef int32_t i, value
        cdef Table table = frame.table
        cdef list values = frame.values
        if handler.takes_context:
            self.context.enter(frame, op, handler)
            args[n] = <PyObject*>self.context
            n += 1
        for item in handler.leading:
            args[n] = <PyObject*>item
            n += 1
        for i in range(table.input_at[op], table.input_at[op + 1]):
            value = table.inputs[i]
            args[n] = <PyObject*>None if value < 0 else <PyObject*>values[value]
            n += 1
        positional = n - 1
        if handler.keyword_names is not None:
            names = <PyObject*>handler.keyword_names
            for item in handler.keyword_values:
                args[n] = <PyObject*>item
                n += 1
        result = PyObject_Vectorcall(
            <PyObject*>handler.call, &args[1], positional | (<size_t>1 << (8 * sizeof(size_t) - 1)), names
        )
        try:
            return <object>result
        finally:
            Py_XDECREF(result)

    cdef int _write_outputs(self, Frame frame, int32_t op, Handler handler, object result) except -1:
        cdef Table table = frame.table
        cdef int32_t first = table.output_at[op]
        cdef int32_t count = table.output_at[op + 1] - first
        cdef int32_t i
        cdef object kind
        cdef tuple results
        if handler.only_class is not None:  # the common case: one output, of just the class that is declared
            kind = type(result)
            if kind is handler.only_class:
                if kind is ndarray:
                    result.setflags(write=False)
                if table.outputs[first] >= 0:
                    frame.write(table.outputs[first], result)
                return 0
        results = checked(result, handler)
        for i in range(count):
            if table.outputs[first + i] >= 0 and results[i] is not None:
                frame.write(table.outputs[first + i], results[i])
        return 0

    cdef bint _claim(self, Frame frame):
        cdef object claim
        for claim in frame.claims:
            if claim in self.owners:
                return False
        for claim in frame.claims:
            self.owners[claim] = frame
        frame.claimed = True
        return True

    cdef void _release(self, Frame frame):
        """Let go of a Frame's claims and queue the blocked Frames again, oldest first."""
        cdef Frame other
        if not frame.claimed:
            return
        for claim in frame.claims:
            del self.owners[claim]
        frame.claimed = False
        waiting, self.blocked = self.blocked, []
        waiting.sort(key=_age)
        for other in reversed(waiting):
            self.frames.appendleft(other)

    cdef void _settle(self, Frame frame):
        """A Frame has no ready op: end it, or let go of its claims while it waits for peers alone."""
        if frame.waiting == 0:
            frame.ended = True
            self.live.discard(frame)
            self._release(frame)
            if frame.on_end is not None:
                frame.on_end()
        elif frame.exclusive_left <= 0 or frame.on_network == frame.waiting:
            self._release(frame)

    cdef void _enqueue(self, Frame frame):
        if not frame.queued:
            frame.queued = True
            self.frames.append(frame)


def _age(Frame frame):
    return frame.exec_id


__all__ = ["Dispatcher", "Frame", "Handler", "Table"]
