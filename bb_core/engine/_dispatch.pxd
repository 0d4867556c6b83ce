"""Layout of the dispatch loop; read this as its header.

`Table` is a function as flat tables and `Plan` one of its entries; both are shared by all Nodes of a process. `Handler`
is one op as one Node runs it, `Lane` one function as one Node hosts it, `Frame` one execution of one entry. `Current`
is the op that runs. `Dispatcher` runs the ops, `Loop` is the poll around it.
"""

from libc.stdint cimport int32_t, int64_t


cdef enum:
    MAX_ARGUMENTS = 64
    TURN = 64  # ops that one function may run before the next has its turn


ctypedef int (*Native)(Dispatcher loop, Frame frame, Handler handler, int32_t op) except -1


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
    # op -> value that says that it is over, -1 where nobody waits for that
    cdef int32_t *over
    cdef readonly tuple constants
    cdef readonly tuple tokens         # the same, to be read from Python
    cdef int32_t *_block

    cdef int _fill(self, int32_t *into, object numbers) except -1


cdef class Plan:
    cdef readonly str name
    cdef readonly Table table
    cdef readonly tuple starts         # ops that have nothing to wait for
    cdef readonly tuple claims         # components that the entry uses exclusively
    cdef readonly int32_t exclusive_ops
    cdef readonly frozenset touched    # components that it uses at all
    cdef readonly tuple over           # values that say that ops are over, of those that it does not reach


cdef class Handler:
    cdef readonly object call          # a callable, or the name of a native op
    cdef Native native                 # NULL for a callable
    cdef readonly bint takes_context
    cdef readonly tuple leading        # after the context, before the inputs
    cdef readonly tuple keyword_names  # or None
    cdef readonly tuple keyword_values
    cdef readonly tuple output_classes  # expected Python class of each output, or None for any
    cdef readonly object only_class     # that of the one output, or None
    cdef readonly tuple optional_outputs
    cdef readonly bint exclusive
    cdef readonly frozenset touched    # components that it uses
    cdef readonly object info
    cdef public int64_t calls
    cdef public int64_t spent_ns


cdef class Lane:
    cdef readonly Table table
    cdef readonly list handlers
    cdef readonly bint prepares        # it is a bootstrap, which none holds back
    cdef object frames                 # deque of Frames with ready ops, first in, first out
    cdef bint queued
    cdef int32_t left                  # ops until the next Lane's turn


cdef class Frame:
    cdef readonly Lane lane
    cdef readonly Table table
    cdef readonly Plan plan
    cdef readonly object exec_id
    cdef readonly object inbound
    cdef readonly tuple origin         # what began it: the key of its random numbers
    cdef readonly int64_t charge       # bytes that it holds of the Node's budget
    cdef readonly int64_t assembled    # the same of the budget for values that come in chunks
    cdef Holder holder                 # the peer whose Envelope it holds, or None
    cdef public list requests          # open requests, or None
    cdef public list outgoing          # answers that go out when nothing in it is ready, or None
    cdef public object on_end          # called without arguments when the Frame has ended
    cdef public dict generators        # or None
    cdef public list gated             # ops that wait for a bootstrap, or None
    cdef public int32_t waiting        # open Laters
    cdef public int32_t on_network     # those of them that wait for other peers, or for a time
    cdef readonly bint claimed
    cdef readonly bint blocked         # waits for its claims
    cdef readonly bint queued
    cdef readonly bint ended
    cdef readonly int32_t exclusive_left
    cdef list values
    cdef int32_t *need
    cdef int32_t *readers
    cdef int32_t *ready
    cdef int32_t head
    cdef int32_t tail

    cdef void _write(self, int32_t value, object item)
    cdef void _finish(self, int32_t op, Handler handler)
    cdef int32_t _first_written(self, int32_t op) except -1
    cdef void _again(self, int32_t op)


cdef class Holder:
    cdef readonly object source
    cdef readonly int64_t frames       # how many live Frames its Envelopes have begun
    cdef readonly int64_t charge       # bytes that they hold
    cdef readonly int64_t assembled    # bytes of values that came in chunks, which they hold


cdef class Current:
    cdef public Frame frame
    cdef public int32_t op
    cdef public Handler handler


cdef class Dispatcher:
    cdef readonly Current context
    cdef readonly object services
    cdef public object observer        # None, or what is told of each op
    cdef public frozenset gate         # None, or components that a bootstrap prepares
    cdef public list steps             # what has happened since the last poll
    cdef public int64_t charged        # bytes that live Frames hold
    cdef public int64_t assembled      # bytes of values that came in chunks, which they hold
    cdef readonly dict holders         # peer -> what the live Frames that it has begun hold
    cdef object ring                   # deque of Lanes with ready ops, in turns
    cdef dict owners                   # exclusive component -> the Frame that holds it
    cdef dict waiting                  # exclusive component -> heap of the Frames that wait for it, by age
    cdef readonly dict live            # Frames that have not ended, by id, in order of age
    cdef public int64_t frames         # how many have been given an id
    cdef public int64_t origins        # how many were begun by anything but an Envelope
    cdef readonly dict routes          # (target, names of inputs) -> Lane, Plan, indices and classes of the values
    cdef object clock

    cpdef Frame begin(
        self, Lane lane, Plan plan, object exec_id, object inbound, tuple origin, object values, object items
    )
    cpdef object begin_invoke(self, str target, tuple key, object exec_id, object values)
    cpdef int64_t run(self, int64_t budget) except -1
    cpdef int hold(self, Frame frame, object source, int64_t charge, int64_t assembled) except -1
    cpdef bint answer(self, Frame frame, int32_t op, object result, bint network)
    cpdef void abandon(self, Frame frame, int32_t op, bint network)
    cpdef void cancel(self, Frame frame)
    cdef int64_t _turn(self, Lane lane, int64_t budget) except -1
    cdef int _dispatch(self, Frame frame, int32_t op, Handler handler) except -1
    cdef object _call(self, Frame frame, int32_t op, Handler handler)
    cdef int _write_outputs(self, Frame frame, int32_t op, Handler handler, object result) except -1
    cdef bint _is_gated(self, Frame frame, Handler handler)
    cdef bint _claim(self, Frame frame)
    cdef void _release(self, Frame frame)
    cdef void _hand_over(self, tuple claims)
    cdef Frame _first_waiting(self, object claim)
    cdef void _settle(self, Frame frame)
    cdef void _end(self, Frame frame)
    cdef void _let_go(self, Frame frame)
    cdef void _enqueue(self, Frame frame)


cdef class Sender:
    cdef readonly object later         # deque of its Envelopes behind the one that stands in the ingress
    cdef readonly int64_t count        # of all that wait
    cdef readonly int64_t held         # their bytes


cdef class Loop:
    cdef readonly Dispatcher dispatcher
    cdef readonly object engine
    cdef object timers
    cdef object laters
    cdef object health
    cdef object overload
    cdef dict take                     # kind of input -> what takes it in
    cdef object host                   # has `find`, `check`, `wake_up` and `result`
    cdef readonly object ingress       # deque of what waits to be taken in: (now, kind, arguments)
    cdef readonly dict senders         # source -> its Envelopes that wait
    cdef readonly int64_t waiting      # how many inputs wait, those of `senders` included
    cdef readonly dict dropped         # source -> how many of its Envelopes found no room since the last poll
    cdef public int64_t held           # bytes of the Envelopes among it
    cdef public int64_t now
    cdef public int64_t most           # inputs that may wait
    cdef public int64_t budget         # ops of one poll
    cdef public bint is_started
    cdef public bint is_watched        # somebody wants to know of every poll
    cdef public object recorder        # None, or what is told of each input

    cdef int _next_of(self, tuple arguments) except -1
    cdef object _due(self, int64_t now)
    cdef object _next(self)
    cdef int _advance(self, int64_t now) except -1
    cdef int64_t _work(self, object due) except? -1
