# cython: language_level=3
"""The Envelope codec. `codec.py` documents and re-exports it; csrc/bb_envelope.h reads the bytes.

Theory of operation. `encode` holds the buffers of all payloads, measures, allocates the result once, and writes into
it; each payload is copied once. `encode_parts` does the same, but for long parts it only notes where they belong, and
then cuts what it has written at those places. `decode` lets C check the bytes whole, limits included, and only then
makes objects: payloads are slices of a read-only view of the input, everything else is small and copied.

The interpreter lock is kept throughout: a scan takes less time than giving it up, and while it is held nobody can
change the bytes between the check and the reading.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.memoryview cimport PyMemoryView_Check, PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from cpython.ref cimport Py_INCREF
from cpython.sequence cimport PySequence_GetSlice
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.string cimport memcpy, memset

from bb_core.errors import CapExceeded, EnvelopeError, Truncated, UsageError, VersionMismatch
from bb_core.wire.limits import WireLimits

# --- values -----------------------------------------------------------------------------------------------------------


@cython.freelist(32)
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


@cython.freelist(8)
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


# --- buffers ----------------------------------------------------------------------------------------------------------


@cython.final
cdef class _Run:
    """Shows a contiguous buffer, whatever its items are called, as plain read-only bytes."""

    cdef Py_buffer held

    def __cinit__(self, object data):
        _hold(data, &self.held, PyBUF_SIMPLE)  # the object's memory is zero before, so that it can be released

    def __dealloc__(self):
        PyBuffer_Release(&self.held)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.held.buf, self.held.len, 1, flags)


cdef int _hold(object data, Py_buffer *held, int flags) except -1:
    """Get the buffer of something contiguous."""
    try:
        PyObject_GetBuffer(data, held, flags)
    except (TypeError, ValueError, BufferError) as error:
        writable = "writable " if flags & PyBUF_WRITABLE else ""
        raise UsageError(
            f"a {type(data).__name__} is not contiguous {writable}bytes",
            expected=f"contiguous {writable}bytes" + ("" if writable else ", or for a payload a tuple of such"),
            hint=str(error),
        ) from error
    return 0


cdef object _read_only(object data):
    """A read-only view of bytes, one dimension, whatever the buffer calls its items."""
    cdef object view
    if type(data) is bytes:
        return PyMemoryView_FromObject(data)
    if PyMemoryView_Check(data):
        try:
            view = PyMemoryView_FromObject(data)
        except ValueError as error:
            raise UsageError("a view was released before it was used", expected="contiguous bytes") from error
        if _is_plain(PyMemoryView_GET_BUFFER(view)):
            return view
    return PyMemoryView_FromObject(_Run(data))


cdef bint _is_plain(const Py_buffer *buffer) noexcept:
    """Whether the buffer of a view is what `_read_only` makes."""
    return buffer.readonly and buffer.ndim == 1 and buffer.strides[0] == 1 and buffer.format[0] == b"B"


# --- encode: measure --------------------------------------------------------------------------------------------------

# From how many bytes on a part stands alone: below, its copy costs less than one more piece does in every layer below.
SCATTERED = 4096

cdef enum:
    _FEW = 6
    _SCATTERED = 4096


cdef struct _Part:
    const char *start
    Py_ssize_t length
    bint is_held
    Py_buffer held


cdef struct _Payloads:
    # The parts of an Envelope's payloads, held from before measuring until they are written or handed on. A fill's
    # parts stand one after another, in order of the fills.
    _Part *parts
    Py_ssize_t count
    # Of a scattered Envelope: where the run of written bytes is interrupted, for each long part in turn; else NULL.
    size_t *cuts
    Py_ssize_t cut
    const uint8_t *began
    # Room for the parts of most Envelopes.
    _Part[_FEW] few


cdef inline Py_ssize_t _parts(Fill fill) noexcept:
    """How many parts the payload has."""
    return len(<tuple>fill.payload) if type(fill.payload) is tuple else 1


cdef int _hold_all(tuple fills, _Payloads *out) except -1:
    """Hold the payloads of all fills. Release them also when this fails."""
    cdef Fill fill
    cdef Py_ssize_t room = 0
    out.parts, out.count, out.cuts, out.cut = out.few, 0, NULL, 0
    for fill in fills:
        if fill is None:
            raise TypeError("a fill of an Envelope is None")
        room += _parts(fill)
    if room > _FEW:
        out.parts = <_Part *>PyMem_Malloc(room * sizeof(_Part))
        if out.parts is NULL:
            out.parts = out.few
            raise MemoryError
    for fill in fills:
        if type(fill.payload) is tuple:
            for part in <tuple>fill.payload:
                _hold_part(part, out)
        else:
            _hold_part(fill.payload, out)
    return 0


cdef int _hold_part(object part, _Payloads *out) except -1:
    """Take one part; there is room for it."""
    cdef _Part *to = &out.parts[out.count]
    if type(part) is bytes:  # cannot change, and its fill keeps it
        to.start, to.length, to.is_held = PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part), False
    else:
        _hold(part, &to.held, PyBUF_SIMPLE)
        to.start, to.length, to.is_held = <const char *>to.held.buf, to.held.len, True
    out.count += 1
    return 0


cdef void _release(_Payloads *payloads) noexcept:
    cdef Py_ssize_t i
    for i in range(payloads.count):
        if payloads.parts[i].is_held:
            PyBuffer_Release(&payloads.parts[i].held)
    if payloads.parts is not payloads.few:
        PyMem_Free(payloads.parts)
    PyMem_Free(payloads.cuts)


cdef inline size_t _length(const _Payloads *payloads, Py_ssize_t first, Py_ssize_t count) noexcept:
    """Bytes of one fill's payload. `first + count` is at most `payloads.count`."""
    cdef size_t total = 0
    cdef Py_ssize_t i
    for i in range(first, first + count):
        total += <size_t>payloads.parts[i].length
    return total


cdef inline size_t _given(size_t length) noexcept:
    """Bytes that a single field of bytes takes; proto3 leaves out an empty one."""
    return bb_bytes_size(length) if length else 0


cdef inline size_t _fill_size(Fill fill, size_t payload) noexcept:
    return (
        _given(PyBytes_GET_SIZE(fill.dest_suffix))
        + _given(payload)
        + bb_number_size(fill.trigger_only)
        + bb_number_size(fill.type_hash)
    )


cdef inline size_t _correlation_size(Envelope envelope) noexcept:
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


cdef inline uint64_t _widened(int32_t kind) noexcept:
    """An enum's number as its varint has it: a negative one takes all ten bytes."""
    return <uint64_t>kind


cdef size_t _measure(Envelope envelope, const _Payloads *payloads) except? 0:
    cdef size_t size = 0
    cdef Py_ssize_t first = 0
    cdef bytes address
    cdef Fill fill
    cdef EdgeRttReport report
    for address in envelope.dest_peer_addresses:
        size += bb_bytes_size(len(address))
    for fill in envelope.fills:
        size += bb_bytes_size(_fill_size(fill, _length(payloads, first, _parts(fill))))
        first += _parts(fill)
    if envelope.has_correlation:
        size += bb_bytes_size(_correlation_size(envelope))
    size += bb_number_size(envelope.remaining_deadline_ns)
    for report in envelope.edge_rtt_reports:
        if report is None:
            raise TypeError("a report of an Envelope is None")
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


cdef inline uint8_t *_put_part(uint8_t *to, _Payloads *payloads, const _Part *part) noexcept:
    """Copy one part; or, of a scattered Envelope, leave a long one out and note where it belongs."""
    if payloads.cuts is not NULL and part.length >= _SCATTERED:
        payloads.cuts[payloads.cut] = to - payloads.began
        payloads.cut += 1
        return to
    if part.length:
        memcpy(to, part.start, part.length)
    return to + part.length


cdef uint8_t *_put_fill(uint8_t *to, Fill fill, _Payloads *payloads, Py_ssize_t first) noexcept:
    cdef Py_ssize_t i, count = _parts(fill)
    cdef size_t length = _length(payloads, first, count)
    to = bb_put_head(to, 2, _fill_size(fill, length))
    to = _put_given(to, 1, fill.dest_suffix)
    if length:
        to = bb_put_head(to, 2, length)
    for i in range(first, first + count):
        to = _put_part(to, payloads, &payloads.parts[i])
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


cdef uint8_t *_write(uint8_t *to, Envelope envelope, _Payloads *payloads) noexcept:
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


@cython.binding(False)  # a call of a plain C function is cheaper; the signature stays in its docstring
@cython.embedsignature(True)
@cython.embedsignature.format("clinic")
def encode(Envelope envelope not None):
    """Return the canonical bytes of an Envelope; see `bb_core.wire.codec`."""
    cdef _Payloads payloads
    cdef bytes data
    try:
        _hold_all(envelope.fills, &payloads)
        data = PyBytes_FromStringAndSize(NULL, _measure(envelope, &payloads))
        _write(<uint8_t *>PyBytes_AS_STRING(data), envelope, &payloads)
        return data
    finally:
        _release(&payloads)


def encoded_size(Envelope envelope not None):
    """Return how many bytes `encode` makes; see `bb_core.wire.codec`."""
    cdef _Payloads payloads
    try:
        _hold_all(envelope.fills, &payloads)
        return _measure(envelope, &payloads)
    finally:
        _release(&payloads)


def encode_into(Envelope envelope not None, object buffer):
    """Write an Envelope to the start of a buffer; see `bb_core.wire.codec`."""
    cdef _Payloads payloads
    cdef Py_buffer target
    cdef size_t size
    memset(&target, 0, sizeof(Py_buffer))
    try:
        _hold_all(envelope.fills, &payloads)
        _hold(buffer, &target, PyBUF_WRITABLE)
        size = _measure(envelope, &payloads)
        if size > <size_t>target.len:
            raise UsageError(
                f"an Envelope of {size} bytes does not fit into {target.len}", expected="a buffer of `encoded_size`"
            )
        if _overlaps(&payloads, <uint8_t *>target.buf, size):
            raise UsageError("a payload lies where its Envelope is to be written", expected="another buffer")
        _write(<uint8_t *>target.buf, envelope, &payloads)
        return size
    finally:
        PyBuffer_Release(&target)
        _release(&payloads)


cdef bint _overlaps(const _Payloads *payloads, const uint8_t *start, size_t size) noexcept:
    cdef Py_ssize_t i
    cdef size_t at = <size_t>start, part
    for i in range(payloads.count):
        part = <size_t>payloads.parts[i].start
        if part < at + size and at < part + <size_t>payloads.parts[i].length:
            return True
    return False


# --- encode: scatter --------------------------------------------------------------------------------------------------


def encode_parts(Envelope envelope not None):
    """Return the canonical bytes in pieces, long payloads not copied; see `bb_core.wire.codec`."""
    cdef _Payloads payloads
    cdef list long_parts
    cdef size_t size
    cdef bytes written
    try:
        _hold_all(envelope.fills, &payloads)
        size = _measure(envelope, &payloads)
        long_parts = _long_parts(envelope.fills, &payloads, &size)
        written = PyBytes_FromStringAndSize(NULL, size)
        if long_parts:
            payloads.cuts = <size_t *>PyMem_Malloc(len(long_parts) * sizeof(size_t))
            if payloads.cuts is NULL:
                raise MemoryError
        payloads.began = <uint8_t *>PyBytes_AS_STRING(written)
        _write(<uint8_t *>PyBytes_AS_STRING(written), envelope, &payloads)
        return _laced(written, long_parts, payloads.cuts)
    finally:
        _release(&payloads)


cdef list _long_parts(tuple fills, const _Payloads *payloads, size_t *size):
    """Views of the parts that stand alone, in order; their bytes are taken off `size`."""
    cdef list found = []
    cdef Py_ssize_t i = 0
    cdef Fill fill
    for fill in fills:
        for part in fill.payload if type(fill.payload) is tuple else (fill.payload,):
            if payloads.parts[i].length >= _SCATTERED:
                found.append(_read_only(part))
                size[0] -= <size_t>payloads.parts[i].length
            i += 1
    return found


cdef tuple _laced(bytes written, list long_parts, const size_t *cuts):
    """The written bytes, with each long part where they are cut."""
    cdef list pieces = []
    cdef size_t at = 0
    cdef Py_ssize_t i
    if not long_parts:
        return (written,)
    for i in range(len(long_parts)):
        if cuts[i] > at:
            pieces.append(written[at : cuts[i]])
        pieces.append(long_parts[i])
        at = cuts[i]
    if <Py_ssize_t>at < len(written):
        pieces.append(written[at:])
    return tuple(pieces)


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


cdef object _NOTHING = memoryview(b"")


cdef object _slice(object data, bb_span span):
    """A view of some of the bytes; `data` is a view already, or bytes."""
    if not span.length:
        return _NOTHING
    if type(data) is bytes:
        data = PyMemoryView_FromObject(data)
    return PySequence_GetSlice(data, span.at, span.at + span.length)


cdef inline bytes _copy(const uint8_t *data, bb_span span):
    return PyBytes_FromStringAndSize(<const char *>data + span.at, span.length)


cdef inline void _set(tuple to, Py_ssize_t at, object item) noexcept:
    """Fill one place of a new tuple."""
    Py_INCREF(item)
    PyTuple_SET_ITEM(to, at, item)


cdef Fill _make_fill(object source, const uint8_t *data, const bb_fill *raw):
    cdef Fill fill = Fill.__new__(Fill)
    fill.dest_suffix = _copy(data, raw.dest_suffix)
    fill.payload = _slice(source, raw.payload)
    fill.trigger_only, fill.type_hash = raw.trigger_only, raw.type_hash
    return fill


cdef EdgeRttReport _make_report(const uint8_t *data, bb_span span):
    cdef bb_rtt_report raw
    bb_read_rtt_report(data, span, &raw)
    return EdgeRttReport(raw.site, raw.chain, raw.hop, raw.srtt_ns, raw.rttvar_ns, raw.samples)


cdef Envelope _make_envelope(object source, const uint8_t *data, size_t length, const bb_envelope *once):
    """Make the objects of an Envelope that `bb_scan_envelope` has accepted, so that no read here can fail."""
    cdef tuple dest_addresses = PyTuple_New(once.dest_addresses), fills = PyTuple_New(once.fills)
    cdef tuple reports = PyTuple_New(once.rtt_reports), src_addresses = PyTuple_New(once.src_addresses)
    cdef Py_ssize_t dest_address = 0, fill = 0, report = 0, src_address = 0
    cdef bb_cursor cursor = bb_cursor(data, once.noted_to, length)
    cdef size_t noted = 0
    cdef bb_field field
    cdef bb_item item
    cdef bb_fill raw
    cdef Envelope envelope
    while noted < once.noted or cursor.at < cursor.end:
        if noted < once.noted:
            item = once.items[noted]
            noted += 1
        else:
            bb_next_field(&cursor, &field)
            if field.wire != BB_BYTES:
                continue
            item.number, item.bytes = field.number, field.bytes
        if item.number == 1:
            _set(dest_addresses, dest_address, _copy(data, item.bytes))
            dest_address += 1
        elif item.number == 2:
            if fill < BB_FIRST_FILLS:
                _set(fills, fill, _make_fill(source, data, &once.first_fills[fill]))
            else:
                bb_read_fill(data, item.bytes, &raw)
                _set(fills, fill, _make_fill(source, data, &raw))
            fill += 1
        elif item.number == 5:
            _set(reports, report, _make_report(data, item.bytes))
            report += 1
        elif item.number == 8:
            _set(src_addresses, src_address, _copy(data, item.bytes))
            src_address += 1
    envelope = Envelope.__new__(Envelope)
    envelope.dest_peer_addresses, envelope.fills = dest_addresses, fills
    envelope.edge_rtt_reports, envelope.src_peer_addresses = reports, src_addresses
    envelope.kind, envelope.request, envelope.has_correlation = once.kind, once.request, once.has_correlation
    envelope.remaining_deadline_ns, envelope.schema_version = once.remaining_deadline_ns, once.schema_version
    envelope.src_peer = _copy(data, once.src_peer)
    return envelope


cdef struct _Caps:
    size_t total_bytes
    bb_limits limits


cdef object _DEFAULT_LIMITS = WireLimits()
cdef object _known_limits = None  # those that `_known_caps` were read from: a Node asks with the same ones always
cdef _Caps _known_caps


cdef int _read_limits(object limits) except -1:
    """See to it that `_known_caps` are those of `limits`."""
    global _known_limits, _known_caps
    cdef _Caps caps
    if type(limits) is not WireLimits:
        raise UsageError(f"the limits are a {type(limits).__name__}", expected="WireLimits")
    caps.total_bytes = limits.total_bytes
    caps.limits.fills, caps.limits.payload_bytes = limits.fills, limits.payload_bytes
    caps.limits.suffix_bytes, caps.limits.src_addresses = limits.suffix_bytes, limits.src_addresses
    caps.limits.src_address_bytes, caps.limits.dest_addresses = limits.src_address_bytes, limits.dest_addresses
    caps.limits.rtt_reports = limits.rtt_reports
    _known_limits, _known_caps = limits, caps
    return 0


@cython.binding(False)  # a call of a plain C function is cheaper; the signature stays in its docstring
@cython.embedsignature(True)
@cython.embedsignature.format("clinic")
def decode(object data, object limits=None):
    """Return the Envelope in contiguous bytes; see `bb_core.wire.codec`."""
    cdef object source = data
    cdef const uint8_t *start
    cdef size_t length, stopped = 0
    cdef bb_envelope once
    if limits is None:
        limits = _DEFAULT_LIMITS
    if type(data) is bytes:
        start, length = <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
    else:
        source = _read_only(data)
        start = <const uint8_t *>PyMemoryView_GET_BUFFER(source).buf
        length = PyMemoryView_GET_BUFFER(source).len
    if limits is not _known_limits:
        _read_limits(limits)
    if length > _known_caps.total_bytes:
        raise CapExceeded(
            f"the Envelope has {length} bytes",
            expected=f"total_bytes at most {limits.total_bytes}",
            cap="total_bytes",
            limit=limits.total_bytes,
        )
    cdef int status = bb_scan_envelope(start, length, &_known_caps.limits, &once, &stopped)
    if status != BB_OK:
        raise _refusal(status, stopped, limits)
    return _make_envelope(source, start, length, &once)


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
    _hold(data, &buffer, PyBUF_SIMPLE)
    cdef size_t address = <size_t>buffer.buf
    PyBuffer_Release(&buffer)
    return address
