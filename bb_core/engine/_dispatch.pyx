# cython: language_level=3
"""The dispatch loop over flat tables. `dispatch.py` documents and re-exports it.

Theory of operation. Writing a value counts down what each of its readers still waits for; an op that waits for nothing
more is appended to its Frame's `ready` array, which has room for every op, since an op becomes ready once in a Frame's
life. Each function has a Lane, which takes its Frames first in, first out, and runs a Frame's ready ops in the order in
which they became ready. Lanes take turns of `TURN` ops; a turn that a budget cuts goes on with the next call, so that a
budget never changes an order. A value is dropped after its last reader, a Frame when nothing in it is ready or open.

An exclusive op makes its Frame claim all exclusive components of its entry together. A Frame that cannot is blocked and
waits by age: nobody younger gets a component for which it waits. A Frame lets go when its last exclusive op is done,
when it ends, or while it only waits for peers or for a time; what it lets go of is handed to the oldest that can go on.

A poll is the Loop's. What came is taken in and what is due is done in order of time, an input before a timer of the
same time, and all ops that this made ready run before the next of them. A poll that finds nothing to do looks at seven
fields and returns.
"""

from collections import deque
from heapq import heappop, heappush

cimport cython
from cpython.list cimport PyList_GET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.string cimport memcpy, memmove

from bb_core.engine.answers import Promised, checked
from bb_core.errors import IngressFull, RoleError
from bb_core.steps import AppEvent, PollResult
from bb_core.values import TRIGGER, Composite


cdef extern from "Python.h":
    PyObject* PyObject_Vectorcall(PyObject* func, PyObject** args, size_t nargsf, PyObject* kwnames) except NULL


cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident()


cdef extern from "numpy/ndarraytypes.h":
    ctypedef struct PyArrayObject:
        pass
    int NPY_ARRAY_WRITEABLE
    void PyArray_CLEARFLAGS(PyArrayObject *arr, int flags) nogil
    bint PyArray_ISWRITEABLE(PyArrayObject *arr) nogil


cdef extern from "bb_frontier.h":
    size_t bb_mark_written(
        const int32_t *at, const int32_t *consumers, int32_t value, int32_t *need, int32_t *ready
    ) nogil
    int bb_mark_read(int32_t *readers, int32_t value) nogil


from numpy import ndarray

# Module globals are looked up by name each time; these are read for every op.
cdef object _PROMISED = Promised
cdef object _NDARRAY = ndarray
cdef object _TRIGGER = TRIGGER
cdef object _APP_EVENT = AppEvent
cdef object _POLL_RESULT = PollResult


@cython.final
cdef class Table:
    """A function as flat tables; made by `program.py`, shared by all Nodes.

    Args:
        waits: For each op the distinct values that it waits for; constants are not among them.
        inputs: For each op the values that it is called with, -1 for an absent one.
        outputs: For each op the values that it writes, -1 for one that nobody reads.
        constants: (value, item) pairs that every Frame holds from the start.
        any_of: Ops that are ready as soon as one of their values is written.
        tokens: For each op the value that says that it is over, however it ended; -1 where nobody waits for that.
    """

    def __cinit__(
        self, str name, int n_values, list waits, list inputs, list outputs, tuple constants,
        frozenset any_of=frozenset(), list tokens=None
    ):
        cdef int n_ops = len(waits)
        self.tokens = (-1,) * n_ops if tokens is None else tuple(tokens)
        consumers = [[] for _ in range(n_values)]
        for op, values in enumerate(waits):
            for value in values:
                if not 0 <= value < n_values:
                    raise ValueError("a value's index is outside the table")
                consumers[value].append(op)
        if any(not -1 <= token < n_values for token in self.tokens):
            raise ValueError("a value's index is outside the table")
        for rows in (inputs, outputs, self.tokens):
            if len(rows) != n_ops:
                raise ValueError("the tables have different numbers of ops")
        for rows in (inputs, outputs):
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
        size = sum(len(at) + len(items) for at, items in flat) + 2 * n_ops + n_values
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
        self.over = at
        at += self._fill(at, self.tokens)
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
cdef class Plan:
    """How a Frame of one entry begins, which exclusive components it claims, and which it touches at all.

    Args:
        over: Values that say that an op is over, of ops that the entry does not reach: nobody is to wait for those.
    """

    def __cinit__(
        self, str name, Table table, tuple starts, tuple claims, int32_t exclusive_ops, frozenset touched,
        tuple over=()
    ):
        for op in starts:
            if not 0 <= op < table.n_ops:
                raise IndexError(op)
        self.name, self.table, self.starts, self.claims = name, table, starts, claims
        self.exclusive_ops, self.touched = exclusive_ops, touched
        self.over = over
        for token in over:
            if not 0 <= token < table.n_values:
                raise IndexError(token)


@cython.final
cdef class Handler:
    """One op as one Node runs it: what to call, with what beside the inputs, and what must come back.

    Args:
        call: A callable, or the name of a native op.
        touched: Components that the op uses; a bootstrap that prepares one holds the op back.
    """

    def __cinit__(
        self, object call, bint takes_context, tuple leading, dict keywords, tuple output_classes,
        tuple optional_outputs, bint exclusive, object info, frozenset touched=frozenset()
    ):
        if len(leading) + len(keywords) > MAX_ARGUMENTS // 2 - 1:
            raise ValueError(f"an op has more than {MAX_ARGUMENTS // 2 - 1} attributes and slots")
        self.native = _native(call) if isinstance(call, str) else NULL
        self.call, self.takes_context, self.leading = call, takes_context, leading
        self.keyword_names = tuple(keywords) or None
        self.keyword_values = tuple(keywords.values())
        self.output_classes, self.optional_outputs = output_classes, optional_outputs
        self.only_class = output_classes[0] if len(output_classes) == 1 else None
        self.exclusive, self.info, self.touched = exclusive, info, touched
        self.calls = self.spent_ns = 0


@cython.final
cdef class Lane:
    """One function on one Node: its ops as they are bound here, and its Frames with ready ops.

    Args:
        prepares: Whether it is a bootstrap: no bootstrap holds back what it is itself made of.
    """

    def __cinit__(self, Table table, list handlers, bint prepares=False):
        if len(handlers) != table.n_ops:
            raise ValueError(f"a table of {table.n_ops} ops was given {len(handlers)} handlers")
        for handler in handlers:
            if type(handler) is not Handler:
                raise TypeError(f"a Lane's handlers are Handlers, not {type(handler).__name__}")
        self.table, self.handlers, self.prepares = table, list(handlers), prepares
        self.frames = deque()
        self.queued = False
        self.left = TURN


cdef class Current:
    """The op that runs: its Frame, its index and its Handler. Base of what Concretes are given as `ctx`."""

    def enter(self, Frame frame, int32_t op):
        """Turn to an op outside the loop, such as one whose deadline has passed."""
        if not 0 <= op < frame.table.n_ops:
            raise IndexError(op)
        self.frame, self.op, self.handler = frame, op, frame.lane.handlers[op]

    def first_written(self):
        """Return which input made the op ready, where the first of them is enough."""
        return self.frame._first_written(self.op)


@cython.final
cdef class Frame:
    """One execution of one entry. Made by `Dispatcher.begin`, or `Dispatcher.revive`."""

    def __cinit__(self, Lane lane, Plan plan, object exec_id, object inbound, tuple origin):
        cdef Table table = lane.table
        cdef Py_ssize_t n_ops = table.n_ops, n_values = table.n_values
        if plan.table is not table:
            raise ValueError("a Plan belongs to another function")
        self.need = <int32_t *>PyMem_Malloc((2 * n_ops + n_values + 1) * sizeof(int32_t))
        if self.need is NULL:
            raise MemoryError
        self.ready = self.need + n_ops
        self.readers = self.ready + n_ops
        memcpy(self.need, table.need, n_ops * sizeof(int32_t))
        memcpy(self.readers, table.readers, n_values * sizeof(int32_t))
        self.lane, self.table, self.plan = lane, table, plan
        self.exec_id, self.inbound, self.origin = exec_id, inbound, origin
        self.exclusive_left = plan.exclusive_ops
        self.values = [None] * n_values
        self.head = self.tail = self.waiting = self.on_network = 0
        self.claimed = self.blocked = self.queued = self.ended = False
        self.charge = self.assembled = 0
        for value, item in table.constants:
            self.values[value] = item

    def __dealloc__(self):
        PyMem_Free(self.need)

    @property
    def handlers(self):
        """The Handlers of its function's ops."""
        return self.lane.handlers

    def write(self, int32_t value, object item):
        """Store a value and make ready the ops that waited for it alone."""
        if not 0 <= value < self.table.n_values:
            raise IndexError(value)
        self._write(value, item)

    def write_late(self, int32_t value, object item):
        """Store a value that nothing in the table writes, unless it is there already; for what watches failures."""
        if not 0 <= value < self.table.n_values:
            raise IndexError(value)
        if self.values[value] is None:
            self._write(value, item)

    @cython.boundscheck(False)  # `value` is an index of the table: Table and `write` have checked it
    @cython.wraparound(False)
    cdef void _write(self, int32_t value, object item):
        cdef Table table = self.table
        self.values[value] = item
        self.tail += <int32_t>bb_mark_written(
            table.consumer_at, table.consumers, value, self.need, self.ready + self.tail
        )

    cdef int32_t _first_written(self, int32_t op) except -1:
        """Return which input of an op made it ready: for an op that takes the first of its values."""
        cdef int32_t first = self.table.input_at[op], last = self.table.input_at[op + 1]
        cdef int32_t value = -1 - self.need[op]
        cdef int32_t i, given
        for i in range(first, last):
            given = self.table.inputs[i]
            if given >= 0 and (given == value or (value < 0 and self.values[given] is not None)):
                return i - first
        raise ValueError("no input of the op has been written")

    cdef void _again(self, int32_t op):
        """Make an op ready that was so before and did not run. It may stand no further than the array's end."""
        if self.head > 0:
            memmove(self.ready, self.ready + self.head, (self.tail - self.head) * sizeof(int32_t))
            self.tail -= self.head
            self.head = 0
        self.ready[self.tail] = op
        self.tail += 1

    @cython.boundscheck(False)  # the indices are the table's
    @cython.wraparound(False)
    cdef void _finish(self, int32_t op, Handler handler):
        """Drop the values that this op was the last to read, and say that it is over to those who wait for that."""
        cdef Table table = self.table
        cdef int32_t i
        for i in range(table.waits_at[op], table.waits_at[op + 1]):
            if bb_mark_read(self.readers, table.waits[i]):
                self.values[table.waits[i]] = None
        if handler.exclusive:
            self.exclusive_left -= 1
        if table.over[op] >= 0:
            self._write(table.over[op], _TRIGGER)

    @property
    def claims(self):
        """Components that its entry uses exclusively."""
        return self.plan.claims

    @property
    def is_idle(self):
        """Whether no op is ready."""
        return self.head == self.tail

    def holds(self, int32_t value):
        """Whether a value has been written, and has readers that have not run."""
        if not 0 <= value < self.table.n_values:
            raise IndexError(value)
        return self.values[value] is not None

    def held_values(self):
        """How many values are held, for tests and `explain`."""
        return sum(v is not None for v in self.values)

    def inputs(self, int32_t op):
        """What an op is called with, None for what is absent or dropped."""
        cdef Table table = self.table
        if not 0 <= op < table.n_ops:
            raise IndexError(op)
        at = [table.inputs[i] for i in range(table.input_at[op], table.input_at[op + 1])]
        return tuple(None if i < 0 else self.values[i] for i in at)

    def missing(self, int32_t op):
        """The values that an op still waits for, by index, for `explain`."""
        cdef Table table = self.table
        if not 0 <= op < table.n_ops:
            raise IndexError(op)
        return [
            table.waits[i] for i in range(table.waits_at[op], table.waits_at[op + 1])
            if self.values[table.waits[i]] is None
        ] if self.need[op] > 0 else []

    def state(self):
        """Return what `Dispatcher.revive` needs to make this Frame again: numbers, and the values by index."""
        cdef int32_t i
        constants = {value for value, _ in self.table.constants}
        return {
            "need": [self.need[i] for i in range(self.table.n_ops)],
            "readers": [self.readers[i] for i in range(self.table.n_values)],
            "ready": [self.ready[i] for i in range(self.head, self.tail)],
            "gated": list(self.gated or ()),
            "exclusive_left": self.exclusive_left,
            "claimed": bool(self.claimed),
            "blocked": bool(self.blocked),
            "charge": self.charge,
            "assembled": self.assembled,
            "values": [(i, v) for i, v in enumerate(self.values) if v is not None and i not in constants],
        }


@cython.final
cdef class Holder:
    """A peer whose Envelopes have begun Frames that live."""

    def __cinit__(self, object source):
        self.source = source
        self.frames = self.charge = self.assembled = 0


@cython.final
cdef class Dispatcher:
    """The loop of one Node.

    Args:
        context: The object that every Concrete is given; its `frame`, `op` and `handler` are set before each call.
        services: Has `failed(frame, op, handler, error)`.
        clock: Measures the time spent in each op when given; the core itself has no clock.
    """

    def __cinit__(self, Current context, object services, object clock=None):
        self.context, self.services, self.clock = context, services, clock
        self.observer = self.gate = None
        self.steps = []
        self.ring = deque()
        self.owners = {}
        self.waiting = {}
        self.live = {}
        self.holders = {}
        self.routes = {}
        self.charged = self.assembled = self.frames = self.origins = 0

    def held_back(self):
        """The Frames that wait for exclusive components, oldest first, each with who holds those; for `explain`."""
        cdef Frame frame
        found = []
        for frame in self.live.values():
            if frame.blocked:
                owners = {self.owners[c].exec_id: self.owners[c] for c in frame.plan.claims if c in self.owners}
                found.append((frame, [owners[i] for i in sorted(owners)]))
        return found

    @property
    def has_work(self):
        """Whether an op is ready that nothing holds back."""
        return bool(self.ring)

    cpdef Frame begin(
        self, Lane lane, Plan plan, object exec_id, object inbound, tuple origin, object values, object items
    ):
        """Begin a Frame: make ready its starts, write its seeds, and queue it.

        Args:
            values: Indices of the seeds.
            items: What they hold.
        """
        cdef Frame frame = Frame(lane, plan, exec_id, inbound, origin)
        cdef int32_t index
        cdef Py_ssize_t i = 0
        for op in plan.starts:
            frame.ready[frame.tail] = op
            frame.tail += 1
        for op in plan.over:
            frame._write(op, _TRIGGER)
        if len(values) != len(items):
            raise ValueError(f"{len(values)} seeds were given {len(items)} items")
        for index in values:
            if not 0 <= index < frame.table.n_values:
                raise IndexError(index)
            frame._write(index, items[i])
            i += 1
        self.live[exec_id] = frame
        self._enqueue(frame)
        return frame

    cpdef object begin_invoke(self, str target, tuple key, object exec_id, object values):
        """Begin the Frame of an invoke; `key` is the target and the names of the inputs, in the order of the values."""
        cdef tuple route = self.routes.get(key)
        cdef Plan plan
        if route is None:
            route = self.services.route(target, key)
        plan = route[1]
        self.origins += 1
        if self.gate is None or self.services.admits(target, plan.touched):
            self.begin(route[0], plan, exec_id, None, (b"invoke", target, self.origins), route[2], values)

    cpdef int hold(self, Frame frame, object source, int64_t charge, int64_t assembled) except -1:
        """Count what a live Frame holds for its Node, and for the peer that has begun it."""
        cdef Holder holder = self.holders.get(source)
        if holder is None:
            holder = self.holders[source] = Holder(source)
        frame.charge, frame.assembled, frame.holder = charge, assembled, holder
        holder.frames += 1
        holder.charge += charge
        holder.assembled += assembled
        self.charged += charge
        self.assembled += assembled
        return 0

    cdef void _let_go(self, Frame frame):
        cdef Holder holder = frame.holder
        frame.holder = None
        holder.frames -= 1
        holder.charge -= frame.charge
        holder.assembled -= frame.assembled
        self.charged -= frame.charge
        self.assembled -= frame.assembled
        if holder.frames == 0:
            del self.holders[holder.source]

    cpdef int64_t run(self, int64_t budget) except -1:
        """Run ready ops until none is left or the budget is spent. Returns how many ran."""
        cdef int64_t done = 0
        cdef Lane lane
        while self.ring and done < budget:
            lane = self.ring[0]
            done += self._turn(lane, budget - done)
            if not lane.frames:
                self.ring.popleft()
                lane.queued = False
                lane.left = TURN
            elif lane.left <= 0:
                lane.left = TURN
                self.ring.rotate(-1)
        return done

    cdef int64_t _turn(self, Lane lane, int64_t budget) except -1:
        """Run ops of one Lane: to its end, for a turn if others wait, or as far as the budget goes."""
        cdef int64_t done = 0
        cdef Frame frame
        cdef Handler handler
        cdef int32_t op
        while lane.frames:
            frame = lane.frames[0]
            while frame.head < frame.tail:
                if done >= budget or (lane.left <= 0 and len(self.ring) > 1):
                    return done
                op = frame.ready[frame.head]
                handler = <Handler>PyList_GET_ITEM(lane.handlers, op)
                if self.gate is not None and self._is_gated(frame, handler):
                    frame.head += 1
                    frame.gated = [*(frame.gated or ()), op]
                    continue
                if handler.exclusive and not frame.claimed and not self._claim(frame):
                    break
                frame.head += 1
                done += 1
                lane.left -= 1
                self._dispatch(frame, op, handler)
            lane.frames.popleft()
            frame.queued = False
            if frame.outgoing is not None:
                self.services.send_out(frame)
            if not frame.blocked and not frame.ended:
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
        handler = frame.lane.handlers[op]
        try:
            self._write_outputs(frame, op, handler, result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.services.failed(frame, op, handler, error)
        else:
            if self.observer is not None:
                self.observer.op_ended(frame, handler, result)
        frame._finish(op, handler)
        self._enqueue(frame)
        return True

    cpdef void abandon(self, Frame frame, int32_t op, bint network):
        """End the branch of an op that promised an answer and failed; its readers never run."""
        if frame.ended:
            return
        frame.waiting -= 1
        if network:
            frame.on_network -= 1
        frame._finish(op, frame.lane.handlers[op])
        self._enqueue(frame)

    cpdef void cancel(self, Frame frame):
        """End a Frame now: what is ready in it never runs."""
        if frame.ended:
            return
        frame.head = frame.tail
        frame.gated = frame.outgoing = None
        frame.waiting = frame.on_network = 0
        if frame.blocked:
            frame.blocked = False
            self._hand_over(frame.plan.claims)
        self._end(frame)

    def open_gate(self, frozenset gate):
        """Let through what a bootstrap held back, but for what touches `gate`; None or nothing opens it whole."""
        cdef Frame frame
        self.gate = gate or None
        for frame in list(self.live.values()):
            if frame.gated is not None:
                held, frame.gated = frame.gated, None
                for op in held:
                    frame._again(op)
                self._enqueue(frame)

    cdef bint _is_gated(self, Frame frame, Handler handler):
        """Whether a bootstrap holds an op back.

        It does so too when the op would make its Frame claim what the bootstrap prepares, whatever the op itself is on.
        Never an op of a bootstrap, nor one whose Frame holds what the bootstrap itself waits for.
        """
        cdef bint touches = not handler.touched.isdisjoint(self.gate)
        if frame.lane.prepares:
            return False
        if self.gate.isdisjoint(frame.plan.claims):
            return touches
        return not frame.claimed and (touches or handler.exclusive)

    cdef int _dispatch(self, Frame frame, int32_t op, Handler handler) except -1:
        cdef object result
        handler.calls += 1
        if self.observer is not None:
            self.observer.op_began(frame, handler, frame.inputs(op))
        try:
            if handler.native is not NULL:
                result = None
                handler.native(self, frame, handler, op)
            else:
                result = self._call(frame, op, handler) if self.clock is None else self._timed(frame, op, handler)
                if type(result) is _PROMISED:
                    (<object>result).park(frame, op)
                    return 0
                self._write_outputs(frame, op, handler, result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic in Rust, for one, is no Exception
            self.services.failed(frame, op, handler, error)
        else:
            if self.observer is not None:
                self.observer.op_ended(frame, handler, result)
        frame._finish(op, handler)
        return 0

    def _timed(self, Frame frame, int32_t op, Handler handler):
        began = self.clock()
        try:
            return self._call(frame, op, handler)
        finally:
            handler.spent_ns += self.clock() - began

    @cython.boundscheck(False)  # the indices are the table's
    @cython.wraparound(False)
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
            self.context.frame, self.context.op, self.context.handler = frame, op, handler
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
        cdef tuple results
        if handler.only_class is not None and type(result) is handler.only_class:
            # the common case: one output, of just the class that is declared
            if handler.only_class is _NDARRAY:
                PyArray_CLEARFLAGS(<PyArrayObject *>result, NPY_ARRAY_WRITEABLE)
            if table.outputs[first] >= 0:
                frame._write(table.outputs[first], result)
            return 0
        cdef bint lacks = False
        results = checked(result, handler)
        for i in range(count):
            if table.outputs[first + i] >= 0:
                if results[i] is None:
                    lacks = True
                else:
                    frame._write(table.outputs[first + i], results[i])
        if lacks:
            self.services.forsake(frame, op)
        return 0

    cdef bint _claim(self, Frame frame):
        """Claim all exclusive components of a Frame's entry, or block it until they are handed to it."""
        cdef Frame other
        cdef bint free = True
        for claim in frame.plan.claims:
            other = self._first_waiting(claim)
            if claim in self.owners or (other is not None and other.exec_id < frame.exec_id):
                free = False
                break
        if free:
            for claim in frame.plan.claims:
                self.owners[claim] = frame
            frame.claimed = True
            frame.blocked = False
        elif not frame.blocked:
            frame.blocked = True
            for claim in frame.plan.claims:
                heappush(self.waiting.setdefault(claim, []), _Waiting(frame.exec_id, frame))
        return free

    cdef Frame _first_waiting(self, object claim):
        """The oldest Frame that waits for a component; those that wait no more are swept out."""
        cdef list heap = self.waiting.get(claim)
        cdef Frame frame
        while heap:
            frame = heap[0].frame
            if frame.blocked:
                return frame
            heappop(heap)
        return None

    cdef void _release(self, Frame frame):
        """Let go of a Frame's claims, and hand them on."""
        if not frame.claimed:
            return
        for claim in frame.plan.claims:
            del self.owners[claim]
        frame.claimed = False
        self._hand_over(frame.plan.claims)

    cdef void _hand_over(self, tuple claims):
        """Give components that became free to the oldest Frames that now have all they wait for."""
        cdef Frame other
        if not self.waiting:
            return
        for claim in claims:
            other = self._first_waiting(claim)
            if other is None:
                self.waiting.pop(claim, None)
            elif self._claim(other):
                self._enqueue(other)

    cdef void _settle(self, Frame frame):
        """A Frame has no ready op: end it, or let go of its claims while it waits for peers or a time alone."""
        if frame.gated is not None:
            if frame.waiting == frame.on_network:
                self._release(frame)
        elif frame.waiting == 0:
            self._end(frame)
        elif frame.exclusive_left <= 0 or frame.on_network == frame.waiting:
            self._release(frame)

    cdef void _end(self, Frame frame):
        frame.ended = True
        self.live.pop(frame.exec_id, None)
        if frame.holder is not None:
            self._let_go(frame)
        self._release(frame)
        if frame.on_end is not None:
            frame.on_end()

    cdef void _enqueue(self, Frame frame):
        cdef Lane lane = frame.lane
        if frame.queued or frame.blocked or frame.ended:
            return
        frame.queued = True
        lane.frames.append(frame)
        if not lane.queued:
            lane.queued = True
            self.ring.append(lane)

    # --- as it was ----------------------------------------------------------------------------------------------------

    def queues(self):
        """Return the Lanes with ready ops, in turn: (function, ops left of its turn, its Frames)."""
        cdef Lane lane
        return [(lane.table.name, lane.left, [f.exec_id for f in lane.frames]) for lane in self.ring]

    def revive(self, Lane lane, Plan plan, object exec_id, object inbound, tuple origin, dict state):
        """Make a Frame as `Frame.state` has described it. Frames are revived in order of age."""
        cdef Frame frame = Frame(lane, plan, exec_id, inbound, origin)
        cdef int32_t i, index
        cdef int32_t n_ops = frame.table.n_ops, n_values = frame.table.n_values
        ready, gated = state["ready"], state["gated"]
        if len(state["need"]) != n_ops or len(state["readers"]) != n_values or len(ready) + len(gated) > n_ops:
            raise ValueError("a Frame's state is of another function")
        if any(not 0 <= op < n_ops for op in (*ready, *gated)):
            raise ValueError("a Frame's state names an op that its function does not have")
        for i in range(n_ops):
            frame.need[i] = state["need"][i]
        for i in range(n_values):
            frame.readers[i] = state["readers"][i]
        for index in ready:
            frame.ready[frame.tail] = index
            frame.tail += 1
        frame.gated = list(gated) or None
        for value, item in state["values"]:
            index = value
            if not 0 <= index < n_values:
                raise ValueError("a Frame's state names a value that its function does not have")
            frame.values[index] = item
        frame.exclusive_left = state["exclusive_left"]
        if inbound is not None:
            self.hold(frame, inbound.source, state["charge"], state["assembled"])
        self.live[exec_id] = frame
        if state["claimed"]:
            for claim in plan.claims:
                if claim in self.owners:
                    raise ValueError(f"two Frames hold {claim!r}")
                self.owners[claim] = frame
            frame.claimed = True
        if state["blocked"]:
            frame.blocked = True
            for claim in plan.claims:
                heappush(self.waiting.setdefault(claim, []), _Waiting(exec_id, frame))
        return frame

    def requeue(self, Lane lane, int32_t left, list frames):
        """Queue revived Frames of a Lane, as `queues` has listed them."""
        cdef Frame frame
        for frame in frames:
            if frame.blocked or frame.queued or frame.lane is not lane:
                raise ValueError("a Frame's state says both that it is blocked and that it is ready")
            self._enqueue(frame)
        lane.left = left


@cython.final
cdef class Sender:
    """A peer whose Envelopes wait to be taken in."""

    def __cinit__(self):
        self.later = deque()
        self.count = self.held = 0


@cython.final
cdef class Loop:
    """What a Node's poll does, and the inputs that wait for it.

    Args:
        engine: Its `dispatcher`, `timers`, `laters`, `health` and `overload` are used, and its `now` is kept.
        take: What takes an input in, by its kind; it is given the engine and what came with the input.
        host: Is asked rarely: `find` and `check` for an invoke, `wake_up` before the first poll and when a Later was
            answered from outside or something was dropped, and `result` for a poll that somebody watches, or that
            judges peers.
        most: Inputs that may wait.
        budget: Ops of one poll.
    """

    def __cinit__(self, object engine, dict take, object host, int64_t most, int64_t budget):
        self.engine, self.dispatcher = engine, engine.dispatcher
        self.timers, self.laters, self.health, self.overload = (
            engine.timers, engine.laters, engine.health, engine.overload
        )
        self.take, self.host, self.most, self.budget = take, host, most, budget
        self.ingress = deque()
        self.senders = {}
        self.dropped = {}
        self.waiting = self.held = self.now = 0
        self.is_started = self.is_watched = False
        self.recorder = None

    cdef int _advance(self, int64_t now) except -1:
        if now > self.now:
            self.now = now
            self.engine.now = now
        return 0

    def put(self, str kind, int64_t now, tuple arguments):
        """Keep an input for the next poll."""
        self._advance(now)
        taken_in = (self.now, kind, arguments)
        self.waiting += 1
        self.ingress.append(taken_in)
        if self.recorder is not None:
            self.recorder.taken_in(taken_in)

    def receive(self, int64_t now, object data, object source, object observed, int64_t size):
        """Keep an Envelope for the next poll. Of each peer one stands in the ingress, so that peers take turns."""
        cdef Sender sender = self.senders.get(source)
        self._advance(now)
        taken_in = (self.now, "receive", (data, source, observed, size))
        if sender is None:
            sender = self.senders[source] = Sender()
            self.ingress.append(taken_in)
        else:
            sender.later.append(taken_in)
        sender.count += 1
        sender.held += size
        self.waiting += 1
        self.held += size
        if self.recorder is not None:
            self.recorder.taken_in(taken_in)

    def in_order(self):
        """Return what waits, so that keeping it again one after another gives the same order."""
        cdef Sender sender
        found = list(self.ingress)
        for sender in self.senders.values():
            found.extend(sender.later)
        return found

    def invoke(self, str target, object inputs, int64_t now):
        """Check and keep the inputs of an invoke; returns the id of its Frame. Raises as `Node.invoke` says."""
        cdef dict given = <dict>inputs if type(inputs) is dict else dict(inputs)
        cdef tuple key = (target, *given)
        cdef tuple route = self.dispatcher.routes.get(key)
        cdef tuple classes
        cdef list values = list(given.values())
        cdef Py_ssize_t i
        if route is None:
            route = self.host.find(target, given)
        classes = route[3]
        for i in range(len(values)):
            value = values[i]
            if type(value) is not classes[i] and classes[i] is not None:
                self.host.check(target, given)
            if type(value) is _NDARRAY and PyArray_ISWRITEABLE(<PyArrayObject *>value):
                value = value.view()  # no op may change what the host holds
                PyArray_CLEARFLAGS(<PyArrayObject *>value, NPY_ARRAY_WRITEABLE)
                values[i] = value
        if self.waiting >= self.most:
            raise IngressFull(f"{self.waiting} inputs wait", hint="poll first, or raise NodeConfig.ingress")
        self._advance(now)
        self.waiting += 1
        self.dispatcher.frames += 1
        exec_id = self.dispatcher.frames
        taken_in = (self.now, "invoke", (target, key, exec_id, values))
        self.ingress.append(taken_in)
        if self.recorder is not None:
            self.recorder.taken_in(taken_in)
        return exec_id

    def poll(self, int64_t now):
        """Do what can be done at a time; see `Node.poll`."""
        cdef Dispatcher dispatcher = self.dispatcher
        cdef int64_t left
        cdef bint more = False
        cdef object wakeup
        self._advance(now)
        if self.laters.posted or self.dropped or not self.is_started:
            self.host.wake_up()
        due = self._due(self.now)
        if due is not None or self.ingress or dispatcher.ring:
            self.laters.thread = PyThread_get_thread_ident()
            left = self._work(due)
            self.laters.leave()
            more = left <= 0 and (dispatcher.ring or self.ingress or self._due(self.now) is not None)
        if self.is_watched or more or self.health.heap or self.health.recovered or self.overload.is_troubled:
            return self.host.result(more)
        wakeup = self._next()
        steps = dispatcher.steps
        if steps:
            dispatcher.steps = []
            return _POLL_RESULT(steps, wakeup, False)
        return _POLL_RESULT([], wakeup, False)

    cdef int64_t _work(self, object due) except? -1:
        """Take in, run and fire as long as there is something and the budget lasts. Returns what is left of it."""
        cdef Dispatcher dispatcher = self.dispatcher
        cdef int64_t left = self.budget
        cdef tuple taken_in
        cdef tuple arguments
        while True:
            # What came before a deadline counts.
            while self.ingress and (due is None or self.ingress[0][0] <= due.when):
                taken_in = self.ingress.popleft()
                arguments = taken_in[2]
                self.waiting -= 1
                if taken_in[1] == "invoke":
                    dispatcher.begin_invoke(arguments[0], arguments[1], arguments[2], arguments[3])
                    continue
                if taken_in[1] == "receive":
                    self._next_of(arguments)
                self.take[taken_in[1]](self.engine, *arguments)
            if dispatcher.ring:
                left -= dispatcher.run(left)
            if left <= 0:
                return left
            if self.ingress and (due is None or self.ingress[0][0] <= due.when):
                continue
            due = self._due(self.now)  # an op may have set one, or cancelled this one
            if due is None:
                return left
            self.engine.fire(due)
            left -= 1
            due = self._due(self.now)

    cdef int _next_of(self, tuple arguments) except -1:
        """An Envelope has been taken in: the next of its peer stands at the end."""
        cdef Sender sender = self.senders[arguments[1]]
        cdef int64_t size = arguments[3]
        sender.count -= 1
        sender.held -= size
        self.held -= size
        if sender.later:
            self.ingress.append(sender.later.popleft())
        else:
            del self.senders[arguments[1]]
        return 0

    cdef object _due(self, int64_t now):
        """The next timer whose time has come."""
        cdef list heap = self.timers.heap
        if not heap or <int64_t>(<tuple>heap[0])[0] > now:
            return None
        return self.timers.due(now)

    cdef object _next(self):
        """When the next timer is set for; None when none is."""
        cdef list heap = self.timers.heap
        if not heap:
            return None
        timer = self.timers.next()
        return None if timer is None else timer.when


cdef class _Waiting:
    """A Frame in the heap of those that wait for a component."""

    cdef object age
    cdef readonly Frame frame

    def __cinit__(self, object age, Frame frame):
        self.age, self.frame = age, frame

    def __lt__(self, _Waiting other):
        return self.age < other.age


# --- native ops: in one table by name, each writes its own outputs ----------------------------------------------------


cdef inline object _input(Frame frame, int32_t op, int32_t i):
    cdef int32_t value = frame.table.inputs[frame.table.input_at[op] + i]
    return None if value < 0 else frame.values[value]


cdef inline void _give(Frame frame, int32_t op, int32_t i, object item):
    cdef int32_t at = frame.table.output_at[op] + i
    if at < frame.table.output_at[op + 1] and frame.table.outputs[at] >= 0:
        frame._write(frame.table.outputs[at], item)


cdef inline int32_t _arity(Frame frame, int32_t op):
    return frame.table.input_at[op + 1] - frame.table.input_at[op]


cdef int _need(Frame frame, Handler handler, int32_t op, int32_t count) except -1:
    if _arity(frame, op) < count:
        raise RoleError(f"{handler.info.title} has {_arity(frame, op)} inputs", expected=f"{count}")
    return 0


cdef int _pass(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1:
    _need(frame, handler, op, 1)
    _give(frame, op, 0, _input(frame, op, 0))
    return 0


cdef int _tee(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1:
    cdef int32_t i
    _need(frame, handler, op, 1)
    item = _input(frame, op, 0)
    for i in range(frame.table.output_at[op + 1] - frame.table.output_at[op]):
        _give(frame, op, i, item)
    return 0


cdef int _pulse(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1:
    _give(frame, op, 0, _TRIGGER)
    return 0


cdef int _race(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1:
    _need(frame, handler, op, 1)
    _give(frame, op, frame._first_written(op), _TRIGGER)
    return 0


cdef int _bundle(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1:
    cdef int32_t i
    _give(frame, op, 0, Composite([_input(frame, op, i) for i in range(_arity(frame, op))]))
    return 0


cdef int _unbundle(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1:
    cdef int32_t i, count = frame.table.output_at[op + 1] - frame.table.output_at[op]
    _need(frame, handler, op, 1)
    parts = _input(frame, op, 0)
    if not isinstance(parts, Composite) or len(parts) != count:
        given = f"{len(parts)} parts" if isinstance(parts, Composite) else f"a {type(parts).__name__}"
        raise RoleError(f"{handler.info.title} was given {given}", expected=f"a composite of {count} parts")
    for i in range(count):
        _give(frame, op, i, parts[i])
    return 0


cdef int _emit(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1:
    _need(frame, handler, op, 1)
    target, port = handler.leading
    item = _input(frame, op, 0)
    loop.steps.append(_APP_EVENT(target, port, item, frame.exec_id))
    _give(frame, op, 0, item)
    return 0


cdef int _tell(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1:
    _need(frame, handler, op, 1)
    target, topic = handler.leading
    loop.steps.append(_APP_EVENT(target, topic, _input(frame, op, 0), frame.exec_id))
    _give(frame, op, 0, _TRIGGER)
    return 0


cdef int _notify(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1:
    target, topic = handler.leading
    loop.steps.append(_APP_EVENT(target, topic, _TRIGGER, frame.exec_id))
    _give(frame, op, 0, _TRIGGER)
    return 0


cdef dict _INDEX = {
    "pass": 0,
    "tee": 1,
    "pulse": 2,
    "race": 3,
    "bundle": 4,
    "unbundle": 5,
    "emit": 6,
    "notify": 7,
    "tell": 8,
    "never": 2,  # of an op whose entry, or whose failure, writes its outputs
}
cdef Native[9] _NATIVES
_NATIVES[0], _NATIVES[1], _NATIVES[2], _NATIVES[3] = _pass, _tee, _pulse, _race
_NATIVES[4], _NATIVES[5], _NATIVES[6], _NATIVES[7] = _bundle, _unbundle, _emit, _notify
_NATIVES[8] = _tell


cdef Native _native(str name) except NULL:
    if name not in _INDEX:
        raise ValueError(f"there is no native op {name!r}")
    return _NATIVES[<int>_INDEX[name]]


__all__ = ["Current", "Dispatcher", "Frame", "Handler", "Holder", "Lane", "Loop", "Plan", "Sender", "Table"]
