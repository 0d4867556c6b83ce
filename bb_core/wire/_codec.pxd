# cython: language_level=3
"""Layout of the compiled codec: read it as a header. What each thing is for stands in `codec.py`."""

cimport cython
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t


cdef extern from "bb_varint.h" nogil:
    size_t bb_varint_size(uint64_t value)
    size_t bb_number_size(uint64_t value)
    size_t bb_bytes_size(size_t length)
    uint8_t *bb_put_varint(uint8_t *to, uint64_t value)
    uint8_t *bb_put_number(uint8_t *to, uint32_t field, uint64_t value)
    uint8_t *bb_put_head(uint8_t *to, uint32_t field, size_t length)


cdef extern from "bb_envelope.h" nogil:
    enum:
        BB_OK
        BB_TRUNCATED
        BB_MALFORMED
        BB_VERSION
        BB_FILLS
        BB_PAYLOAD_BYTES
        BB_SUFFIX_BYTES
        BB_SRC_ADDRESSES
        BB_SRC_ADDRESS_BYTES
        BB_DEST_ADDRESSES
        BB_RTT_REPORTS

        BB_NUMBER
        BB_FIXED64
        BB_BYTES
        BB_GROUP
        BB_FIXED32

        BB_SCHEMA_VERSION
        BB_FIRST_FILLS

    ctypedef struct bb_span:
        size_t at
        size_t length

    ctypedef struct bb_cursor:
        const uint8_t *data
        size_t at
        size_t end

    ctypedef struct bb_field:
        uint32_t number
        uint32_t wire
        uint64_t value
        bb_span bytes

    ctypedef struct bb_limits:
        size_t fills
        size_t payload_bytes
        size_t suffix_bytes
        size_t src_addresses
        size_t src_address_bytes
        size_t dest_addresses
        size_t rtt_reports

    ctypedef struct bb_fill:
        bb_span dest_suffix
        bb_span payload
        int trigger_only
        uint64_t type_hash

    ctypedef struct bb_item:
        uint32_t number
        bb_span bytes

    ctypedef struct bb_envelope:
        size_t dest_addresses
        size_t fills
        size_t rtt_reports
        size_t src_addresses
        int has_correlation
        int32_t kind
        uint64_t request
        uint64_t remaining_deadline_ns
        uint32_t schema_version
        bb_span src_peer
        size_t noted
        size_t noted_to
        bb_fill *first_fills
        bb_item *items

    ctypedef struct bb_rtt_report:
        uint64_t site
        uint64_t chain
        uint32_t hop
        uint64_t srtt_ns
        uint64_t rttvar_ns
        uint64_t samples

    int bb_scan_envelope(
        const uint8_t *data, size_t length, const bb_limits *limits, bb_envelope *out, size_t *stopped
    )
    int bb_next_field(bb_cursor *cursor, bb_field *out)
    int bb_read_fill(const uint8_t *data, bb_span span, bb_fill *out)
    int bb_read_rtt_report(const uint8_t *data, bb_span span, bb_rtt_report *out)


@cython.final
cdef class Fill:
    cdef readonly bytes dest_suffix
    cdef readonly object payload           # bytes-like, or a tuple of bytes-likes
    cdef readonly bint trigger_only
    cdef readonly uint64_t type_hash


@cython.final
cdef class EdgeRttReport:
    cdef readonly uint64_t site
    cdef readonly uint64_t chain
    cdef readonly uint32_t hop
    cdef readonly uint64_t srtt_ns
    cdef readonly uint64_t rttvar_ns
    cdef readonly uint64_t samples


@cython.final
cdef class Envelope:
    cdef readonly tuple dest_peer_addresses
    cdef readonly tuple fills
    cdef readonly int32_t kind
    cdef readonly uint64_t request
    cdef readonly uint64_t remaining_deadline_ns
    cdef readonly tuple edge_rtt_reports
    cdef readonly bytes src_peer
    cdef readonly uint32_t schema_version
    cdef readonly tuple src_peer_addresses
    cdef readonly bint has_correlation


@cython.final
cdef class Fields:
    cdef object view                       # keeps the bytes alive
    cdef bb_cursor cursor
