# cython: language_level=3
"""The Envelope codec. `codec.py` documents and re-exports it; csrc/bb_envelope.h reads the bytes.

Theory of operation. `encode` holds the buffers of all payloads, measures, allocates the result once, and writes into
it; each payload is copied once. `decode` lets C check the bytes whole, limits included, and only then makes objects:
payloads are slices of a read-only view of the input, everything else is small and copied.

The interpreter lock is kept throughout: a scan takes less time than giving it up, and while it is held nobody can
change the bytes between the check and the reading.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.memoryview cimport PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from cpython.sequence cimport PySequence_GetSlice
from libc.string cimport memcpy

from bb_core.errors import CapExceeded, EnvelopeError, Truncated, UsageError, VersionMismatch
from bb_core.wire.limits import WireLimits

# --- values -----------------------------------------------------------------------------------------------------------


@cython.final
cdef class Fill:
    """A value for one site of the receiver; see `bb_core.wire.codec`."""

    def __cinit__(
        self, bytes dest_suffix not None=b"", object payload=b"", bint trigger_only=False, uint64_t type_hash=0
    ):
        self.dest_suffix, self.payload = dest_suffix, payload
        self.trigger_only, self.type_hash = trigger_only, type_hash

    def __eq__(self, other):
        return type(other) is Fill and _facts(self) == _facts(other)

    def __repr__(self):
        shown = "trigger" if self.trigger_only else f"{len(_joined(self.payload))} bytes"
        return f"Fill({self.dest_suffix.hex()}, {shown}, type_hash={self.type_hash:#018x})"


cdef tuple _facts(Fill fill):
    return fill.dest_suffix, _joined(fill.payload), fill.trigger_only, fill.type_hash


cdef bytes _joined(object payload):
    return b"".join(payload if type(payload) is tuple else (payload,))


@cython.final
cdef class EdgeRttReport:
    """Round-trip time of one hop; see `bb_core.wire.codec`."""

    def __cinit__(
        self, uint64_t site=0, uint64_t chain=0, uint32_t hop=0, uint64_t srtt_ns=0, uint64_t rttvar_ns=0,
        uint64_t samples=0
    ):
        self.site, self.chain, self.hop = site, chain, hop
        self.srtt_ns, self.rttvar_ns, self.samples = srtt_ns, rttvar_ns, samples

    def _facts(self):
        return self.site, self.chain, self.hop, self.srtt_ns, self.rttvar_ns, self.samples

    def __eq__(self, other):
        return type(other) is EdgeRttReport and self._facts() == other._facts()

    def __repr__(self):
        return f"EdgeRttReport{self._facts()}"


@cython.final
cdef class Envelope:
    """One message between two peers; see `bb_core.wire.codec`."""

    def __cinit__(
        self, object dest_peer_addresses=(), object fills=(), int32_t kind=0, uint64_t request=0,
        uint64_t remaining_deadline_ns=0, object edge_rtt_reports=(), bytes src_peer not None=b"",
        uint32_t schema_version=BB_SCHEMA_VERSION, object src_peer_addresses=(), bint has_correlation=True
    ):
        self.dest_peer_addresses, self.fills = tuple(dest_peer_addresses), tuple(fills)
        self.kind, self.request, self.has_correlation = kind, request, has_correlation
        self.remaining_deadline_ns, self.edge_rtt_reports = remaining_deadline_ns, tuple(edge_rtt_reports)
        self.src_peer, self.src_peer_addresses = src_peer, tuple(src_peer_addresses)
        self.schema_version = schema_version
        if (kind or request) and not has_correlation:
            raise UsageError("an Envelope without a correlation has a kind or a request", expected="both zero")

    def _facts(self):
        return {
            "dest_peer_addresses": self.dest_peer_addresses,
            "fills": self.fills,
            "kind": self.kind,
            "request": self.request,
            "remaining_deadline_ns": self.remaining_deadline_ns,
            "edge_rtt_reports": self.edge_rtt_reports,
            "src_peer": self.src_peer,
            "schema_version": self.schema_version,
            "src_peer_addresses": self.src_peer_addresses,
            "has_correlation": self.has_correlation,
        }

    def __eq__(self, other):
        return type(other) is Envelope and self._facts() == other._facts()

    def __repr__(self):
        return "Envelope(" + ", ".join(f"{name}={value!r}" for name, value in self._facts().items()) + ")"


# --- encode: measure --------------------------------------------------------------------------------------------------


@cython.final
cdef class _Payloads:
    """The buffers of an Envelope's payloads, held from before measuring until they are copied.

    A fill's parts stand one after another, in order of the fills.
    """

    cdef Py_buffer *parts
    cdef Py_ssize_t count

    def __cinit__(self, Py_ssize_t room):
        self.parts = <Py_buffer *>PyMem_Calloc(room, sizeof(Py_buffer))
        if self.parts is NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            PyBuffer_Release(&self.parts[i])
        PyMem_Free(self.parts)

    cdef int hold(self, object payload) except -1:
        """Take one part; there must be room for it."""
        try:
            PyObject_GetBuffer(payload, &self.parts[self.count], PyBUF_SIMPLE)
        except (TypeError, ValueError, BufferError) as error:
            raise UsageError(
                f"a payload is a {type(payload).__name__}",
                expected="contiguous bytes, or a tuple of such",
                hint=str(error),
            ) from error
        self.count += 1
        return 0

    cdef size_t length(self, Py_ssize_t first, Py_ssize_t count) noexcept:
        """Bytes of one fill's payload. `first + count` is at most `self.count`."""
        cdef size_t total = 0
        cdef Py_ssize_t i
        for i in range(first, first + count):
            total += <size_t>self.parts[i].len
        return total


cdef Py_ssize_t _parts(Fill fill) noexcept:
    """How many parts the payload has."""
    return len(<tuple>fill.payload) if type(fill.payload) is tuple else 1


cdef _Payloads _hold(tuple fills):
    """Hold the payloads of all fills."""
    cdef Fill fill
    cdef Py_ssize_t room = 0
    for fill in fills:
        room += _parts(fill)
    cdef _Payloads payloads = _Payloads(room)
    for fill in fills:
        if type(fill.payload) is tuple:
            for part in <tuple>fill.payload:
                payloads.hold(part)
        else:
            payloads.hold(fill.payload)
    return payloads


cdef size_t _given(size_t length) noexcept:
    """Bytes that a single field of bytes takes; proto3 leaves out an empty one."""
    return bb_bytes_size(length) if length else 0


cdef size_t _fill_size(Fill fill, size_t payload) noexcept:
    return (
        _given(PyBytes_GET_SIZE(fill.dest_suffix))
        + _given(payload)
        + bb_number_size(fill.trigger_only)
        + bb_number_size(fill.type_hash)
    )


cdef size_t _correlation_size(Envelope envelope) noexcept:
    return bb_number_size(_widened(envelope.kind)) + bb_number_size(envelope.request)


cdef size_t _report_size(EdgeRttReport report) noexcept:
    return (
        bb_number_size(report.site)
        + bb_number_size(report.chain)
        + bb_number_size(report.hop)
        + bb_number_size(report.srtt_ns)
        + bb_number_size(report.rttvar_ns)
        + bb_number_size(report.samples)
    )


cdef uint64_t _widened(int32_t kind) noexcept:
    """An enum's number as its varint has it: a negative one takes all ten bytes."""
    return <uint64_t>kind


cdef size_t _measure(Envelope envelope, _Payloads payloads) except? 0:
    cdef size_t size = 0
    cdef Py_ssize_t first = 0
    cdef bytes address
    cdef Fill fill
    cdef EdgeRttReport report
    for address in envelope.dest_peer_addresses:
        size += bb_bytes_size(len(address))
    for fill in envelope.fills:
        size += bb_bytes_size(_fill_size(fill, payloads.length(first, _parts(fill))))
        first += _parts(fill)
    if envelope.has_correlation:
        size += bb_bytes_size(_correlation_size(envelope))
    size += bb_number_size(envelope.remaining_deadline_ns)
    for report in envelope.edge_rtt_reports:
        size += bb_bytes_size(_report_size(report))
    size += _given(PyBytes_GET_SIZE(envelope.src_peer))
    size += bb_number_size(envelope.schema_version)
    for address in envelope.src_peer_addresses:
        size += bb_bytes_size(len(address))
    return size


# --- encode: write ----------------------------------------------------------------------------------------------------


cdef uint8_t *_put_bytes(uint8_t *to, uint32_t field, bytes value) noexcept:
    cdef size_t length = PyBytes_GET_SIZE(value)
    to = bb_put_head(to, field, length)
    memcpy(to, PyBytes_AS_STRING(value), length)
    return to + length


cdef uint8_t *_put_given(uint8_t *to, uint32_t field, bytes value) noexcept:
    return _put_bytes(to, field, value) if PyBytes_GET_SIZE(value) else to


cdef uint8_t *_put_fill(uint8_t *to, Fill fill, _Payloads payloads, Py_ssize_t first) noexcept:
    cdef Py_ssize_t i, count = _parts(fill)
    cdef size_t length = payloads.length(first, count)
    to = bb_put_head(to, 2, _fill_size(fill, length))
    to = _put_given(to, 1, fill.dest_suffix)
    if length:
        to = bb_put_head(to, 2, length)
    for i in range(first, first + count):
        if payloads.parts[i].len:
            memcpy(to, payloads.parts[i].buf, payloads.parts[i].len)
            to += payloads.parts[i].len
    to = bb_put_number(to, 3, fill.trigger_only)
    return bb_put_number(to, 4, fill.type_hash)


cdef uint8_t *_put_correlation(uint8_t *to, Envelope envelope) noexcept:
    to = bb_put_head(to, 3, _correlation_size(envelope))
    to = bb_put_number(to, 1, _widened(envelope.kind))
    return bb_put_number(to, 2, envelope.request)


cdef uint8_t *_put_report(uint8_t *to, EdgeRttReport report) noexcept:
    to = bb_put_head(to, 5, _report_size(report))
    to = bb_put_number(to, 1, report.site)
    to = bb_put_number(to, 2, report.chain)
    to = bb_put_number(to, 3, report.hop)
    to = bb_put_number(to, 4, report.srtt_ns)
    to = bb_put_number(to, 5, report.rttvar_ns)
    return bb_put_number(to, 6, report.samples)


cdef uint8_t *_write(uint8_t *to, Envelope envelope, _Payloads payloads) noexcept:
    """Write the fields in order of their numbers. `_measure` has seen the same objects, which cannot change."""
    cdef Py_ssize_t first = 0
    for address in envelope.dest_peer_addresses:
        to = _put_bytes(to, 1, <bytes>address)
    for fill in envelope.fills:
        to = _put_fill(to, <Fill>fill, payloads, first)
        first += _parts(<Fill>fill)
    if envelope.has_correlation:
        to = _put_correlation(to, envelope)
    to = bb_put_number(to, 4, envelope.remaining_deadline_ns)
    for report in envelope.edge_rtt_reports:
        to = _put_report(to, <EdgeRttReport>report)
    to = _put_given(to, 6, envelope.src_peer)
    to = bb_put_number(to, 7, envelope.schema_version)
    for address in envelope.src_peer_addresses:
        to = _put_bytes(to, 8, <bytes>address)
    return to


def encode(Envelope envelope not None):
    """Return the canonical bytes of an Envelope; see `bb_core.wire.codec`."""
    cdef _Payloads payloads = _hold(envelope.fills)
    cdef size_t size = _measure(envelope, payloads)
    cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
    _write(<uint8_t *>PyBytes_AS_STRING(data), envelope, payloads)
    return data


# --- decode -----------------------------------------------------------------------------------------------------------


cdef dict _REFUSALS = {
    BB_TRUNCATED: (Truncated, "the bytes end inside a field"),
    BB_MALFORMED: (EnvelopeError, "a field is malformed"),
    BB_VERSION: (VersionMismatch, "the schema version is not one that this release reads"),
}

cdef dict _LIMITS = {
    BB_FILLS: ("fills", "there are too many fills"),
    BB_PAYLOAD_BYTES: ("payload_bytes", "a payload is too long"),
    BB_SUFFIX_BYTES: ("suffix_bytes", "the address of a fill is too long"),
    BB_SRC_ADDRESSES: ("src_addresses", "the sender names too many addresses"),
    BB_SRC_ADDRESS_BYTES: ("src_address_bytes", "an address of the sender is too long"),
    BB_DEST_ADDRESSES: ("dest_addresses", "the destination has too many addresses"),
    BB_RTT_REPORTS: ("rtt_reports", "there are too many reports of round-trip times"),
}


cdef object _refusal(int status, size_t stopped, object limits):
    """The error for a status of the C code, which stopped at this byte."""
    where = f"byte {stopped}"
    if status in _LIMITS:
        name, message = _LIMITS[status]
        limit = getattr(limits, name)
        return CapExceeded(message, where=where, expected=f"{name} at most {limit}", cap=name, limit=limit)
    kind, message = _REFUSALS[status]
    expected = f"0 or {BB_SCHEMA_VERSION}" if status == BB_VERSION else None
    return kind(message, where=where, expected=expected)


cdef object _read_only(object data):
    """A read-only view of bytes, one dimension, whatever the buffer calls its items."""
    cdef object view = PyMemoryView_FromObject(data)
    cdef Py_buffer *buffer = PyMemoryView_GET_BUFFER(view)
    if buffer.ndim != 1 or buffer.strides[0] != 1 or buffer.format[0] != b"B":
        view = view.cast("B")
    return view if PyMemoryView_GET_BUFFER(view).readonly else view.toreadonly()


cdef object _slice(object view, bb_span span):
    return PySequence_GetSlice(view, span.at, span.at + span.length)


cdef bytes _copy(const uint8_t *data, bb_span span):
    return PyBytes_FromStringAndSize(<const char *>data + span.at, span.length)


cdef Fill _make_fill(object view, const uint8_t *data, bb_span span):
    cdef bb_fill raw
    cdef Fill fill = Fill.__new__(Fill)
    bb_read_fill(data, span, &raw)
    fill.dest_suffix = _copy(data, raw.dest_suffix)
    fill.payload = _slice(view, raw.payload)
    fill.trigger_only, fill.type_hash = raw.trigger_only, raw.type_hash
    return fill


cdef EdgeRttReport _make_report(const uint8_t *data, bb_span span):
    cdef bb_rtt_report raw
    bb_read_rtt_report(data, span, &raw)
    return EdgeRttReport(raw.site, raw.chain, raw.hop, raw.srtt_ns, raw.rttvar_ns, raw.samples)


cdef Envelope _make_envelope(object view, const uint8_t *data, size_t length, const bb_envelope *once):
    """Make the objects of an Envelope that `bb_scan_envelope` has accepted, so that no read here can fail."""
    cdef list dest_addresses = [], fills = [], reports = [], src_addresses = []
    cdef bb_cursor cursor = bb_cursor(data, 0, length)
    cdef bb_field field
    cdef Envelope envelope
    while cursor.at < cursor.end:
        bb_next_field(&cursor, &field)
        if field.wire != BB_BYTES:
            continue
        if field.number == 1:
            dest_addresses.append(_copy(data, field.bytes))
        elif field.number == 2:
            fills.append(_make_fill(view, data, field.bytes))
        elif field.number == 5:
            reports.append(_make_report(data, field.bytes))
        elif field.number == 8:
            src_addresses.append(_copy(data, field.bytes))
    envelope = Envelope.__new__(Envelope)
    envelope.dest_peer_addresses, envelope.fills = tuple(dest_addresses), tuple(fills)
    envelope.edge_rtt_reports, envelope.src_peer_addresses = tuple(reports), tuple(src_addresses)
    envelope.kind, envelope.request, envelope.has_correlation = once.kind, once.request, once.has_correlation
    envelope.remaining_deadline_ns, envelope.schema_version = once.remaining_deadline_ns, once.schema_version
    envelope.src_peer = _copy(data, once.src_peer)
    return envelope


cdef bb_limits _c_limits(object limits) except *:
    cdef bb_limits out
    out.fills, out.payload_bytes, out.suffix_bytes = limits.fills, limits.payload_bytes, limits.suffix_bytes
    out.src_addresses, out.src_address_bytes = limits.src_addresses, limits.src_address_bytes
    out.dest_addresses, out.rtt_reports = limits.dest_addresses, limits.rtt_reports
    return out


cdef object _DEFAULT_LIMITS = WireLimits()


def decode(object data, object limits=_DEFAULT_LIMITS):
    """Return the Envelope in contiguous bytes; see `bb_core.wire.codec`."""
    cdef object view = _read_only(data)
    cdef const uint8_t *start = <const uint8_t *>PyMemoryView_GET_BUFFER(view).buf
    cdef size_t length = PyMemoryView_GET_BUFFER(view).len
    cdef size_t stopped = 0
    cdef bb_limits caps = _c_limits(limits)
    cdef bb_envelope once
    if length > <size_t>limits.total_bytes:
        raise CapExceeded(
            f"the Envelope has {length} bytes",
            expected=f"total_bytes at most {limits.total_bytes}",
            cap="total_bytes",
            limit=limits.total_bytes,
        )
    cdef int status = bb_scan_envelope(start, length, &caps, &once, &stopped)
    if status != BB_OK:
        raise _refusal(status, stopped, limits)
    return _make_envelope(view, start, length, &once)


# --- parts of other messages ------------------------------------------------------------------------------------------


@cython.final
cdef class Fields:
    """Iterate over the fields of a message: number, wire type, and an int, a view or None (a group)."""

    def __cinit__(self, object message):
        self.view = _read_only(message)
        cdef Py_buffer *buffer = PyMemoryView_GET_BUFFER(self.view)
        self.cursor = bb_cursor(<const uint8_t *>buffer.buf, 0, buffer.len)

    @property
    def at(self):
        """Where the next field begins: after a refusal, the one that was refused."""
        return self.cursor.at

    def __iter__(self):
        return self

    def __next__(self):
        cdef bb_field field
        if self.cursor.at >= self.cursor.end:
            raise StopIteration
        cdef int status = bb_next_field(&self.cursor, &field)
        if status != BB_OK:
            raise _refusal(status, self.cursor.at, None)
        if field.wire == BB_NUMBER:
            return field.number, field.wire, field.value
        return field.number, field.wire, None if field.wire == BB_GROUP else _slice(self.view, field.bytes)


def varint(uint64_t value):
    """Return the shortest varint of a number."""
    cdef uint8_t[10] block
    cdef uint8_t *end = bb_put_varint(block, value)
    return PyBytes_FromStringAndSize(<const char *>block, end - block)


def address_of(object data):
    """Say where a contiguous buffer begins, for those who need to know its alignment."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    cdef size_t address = <size_t>buffer.buf
    PyBuffer_Release(&buffer)
    return address
