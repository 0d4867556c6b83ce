"""Layout of the dispatch loop; read this as its header.

`Table` is a function as flat tables, shared by all Nodes of a process. `Handler` is one op as one Node runs it. `Frame`
is one execution of one entry. `Dispatcher` is the loop.
"""

from libc.stdint cimport int32_t, int64_t


cdef enum:
    MAX_ARGUMENTS = 64


cdef class Table:
    cdef readonly str name
    cdef readonly int32_t n_values
    cdef readonly int32_t n_ops
    # value -> the ops that wait for it (CSR)
    cdef int32_t *consumer_at
    cdef int32_t *consumers
    # op -> distinct values that it waits for (CSR); need and readers are their counts
    cdef int32_t *waits_at
    cdef int32_t *waits
    cdef int32_t *need
    cdef int32_t *readers
    # op -> values that it is called with, -1 for an absent one (CSR)
    cdef int32_t *input_at
    cdef int32_t *inputs
    # op -> values that it writes, -1 for one that nobody reads (CSR)
    cdef int32_t *output_at
    cdef int32_t *outputs
    cdef readonly tuple constants
    cdef int32_t *_block

    cdef int _fill(self, int32_t *into, object numbers) except -1


cdef class Handler:
    cdef readonly object call          # None: the op passes its first input on
    cdef readonly bint takes_context
    cdef readonly tuple leading        # after the context, before the inputs
    cdef readonly tuple keyword_names  # or None
    cdef readonly tuple keyword_values
    cdef readonly tuple output_classes  # expected Python class of each output, or None for any
    cdef readonly object only_class     # that of the one output, or None
    cdef readonly tuple optional_outputs
    cdef readonly bint exclusive
    cdef readonly object info
    cdef public int64_t calls
    cdef public int64_t spent_ns


cdef class Frame:
    cdef readonly Table table
    cdef readonly list handlers
    cdef readonly object exec_id
    cdef readonly object inbound
    cdef readonly bytes origin
    cdef readonly tuple claims         # components that the entry uses exclusively
    cdef public list requests
    cdef public object on_end          # called without arguments when the Frame has ended
    cdef public dict generators
    cdef public int32_t waiting        # open Laters
    cdef public int32_t on_network     # those of them that wait for other peers
    cdef public bint claimed
    cdef public bint queued
    cdef public bint ended
    cdef readonly int32_t exclusive_left
    cdef list values
    cdef int32_t *need
    cdef int32_t *readers
    cdef int32_t *ready
    cdef int32_t head
    cdef int32_t tail

    cpdef void write(self, int32_t value, object item)
    cdef void _start(self, int32_t op)
    cdef void _finish(self, int32_t op)


cdef class Dispatcher:
    cdef readonly object context
    cdef readonly object services
    cdef object frames                 # deque of Frames with ready ops
    cdef dict owners                   # exclusive component -> the Frame that holds it
    cdef list blocked                  # Frames that wait for their claims, oldest first
    cdef readonly set live             # Frames that have not ended
    cdef object clock

    cpdef Frame begin(
        self, Table table, list handlers, object exec_id, object inbound, bytes origin, tuple claims,
        int32_t exclusive_ops, object seeds, object starts
    )
    cpdef int64_t run(self, int64_t budget) except -1
    cpdef bint answer(self, Frame frame, int32_t op, object result, bint network)
    cpdef void abandon(self, Frame frame, int32_t op, bint network)
    cdef int _dispatch(self, Frame frame, int32_t op) except -1
    cdef object _call(self, Frame frame, int32_t op, Handler handler)
    cdef int _write_outputs(self, Frame frame, int32_t op, Handler handler, object result) except -1
    cdef bint _claim(self, Frame frame)
    cdef void _release(self, Frame frame)
    cdef void _settle(self, Frame frame)
    cdef void _enqueue(self, Frame frame)
