/* Read an Envelope in place: check it whole, then walk over its fields.
 *
 * The bytes come from a peer and may be anything. `bb_scan_envelope` accepts or refuses all of them, nested messages and
 * unknown fields included, and counts what the caller will have to allocate for; only then are the cursors used, on the
 * same bytes. What is accepted is what google's decoder accepts, within the limits.
 *
 * Nothing here allocates, copies or touches Python. Offsets count from the start of the Envelope.
 *
 * Source: docs/reference/wire.md; bb_core/wire/envelope.proto.
 */
#ifndef BB_ENVELOPE_H
#define BB_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

enum bb_status {
    BB_OK = 0,
    BB_TRUNCATED,             /* the bytes end inside a field */
    BB_MALFORMED,             /* a varint is too long, or a key is not legal */
    BB_VERSION,               /* schema_version is neither 0 nor 1 */
    BB_FILLS,                 /* one of the limits, by name */
    BB_PAYLOAD_BYTES,
    BB_SUFFIX_BYTES,
    BB_SRC_ADDRESSES,
    BB_SRC_ADDRESS_BYTES,
    BB_DEST_ADDRESSES,
    BB_RTT_REPORTS,
};

enum { BB_SCHEMA_VERSION = 1, BB_MAX_GROUPS = 100, BB_FIRST_FILLS = 8, BB_FIRST_ITEMS = 16 };

/* Where some bytes of the Envelope are. */
typedef struct {
    size_t at;
    size_t length;
} bb_span;

/* A position inside one message, which ends at `end`. */
typedef struct {
    const uint8_t *data;
    size_t at;
    size_t end;
} bb_cursor;

enum { BB_NUMBER = 0, BB_FIXED64 = 1, BB_BYTES = 2, BB_GROUP = 3, BB_GROUP_END = 4, BB_FIXED32 = 5 };

/* One field as it stands: `value` of a number, `bytes` of a field of bytes. */
typedef struct {
    uint32_t number;
    uint32_t wire;
    uint64_t value;
    bb_span bytes;
} bb_field;

typedef struct {
    size_t fills;
    size_t payload_bytes;
    size_t suffix_bytes;
    size_t src_addresses;
    size_t src_address_bytes;
    size_t dest_addresses;
    size_t rtt_reports;
} bb_limits;

typedef struct {
    bb_span dest_suffix;
    bb_span payload;
    int trigger_only;
    uint64_t type_hash;
} bb_fill;

/* An item of one of the repeated fields. */
typedef struct {
    uint32_t number;
    bb_span bytes;
} bb_item;

/* The fields of an Envelope that stand once, how often the others stand, and the first of those, so that an Envelope of
 * the usual size is read once: `items` holds `noted` of them in their order, and what stands before `noted_to`. */
typedef struct {
    size_t dest_addresses;
    size_t fills;
    size_t rtt_reports;
    size_t src_addresses;
    int has_correlation;
    int32_t kind;
    uint64_t request;
    uint64_t remaining_deadline_ns;
    uint32_t schema_version;
    bb_span src_peer;
    size_t noted;
    size_t noted_to;
    bb_fill first_fills[BB_FIRST_FILLS];
    bb_item items[BB_FIRST_ITEMS];
} bb_envelope;

typedef struct {
    uint64_t site;
    uint64_t chain;
    uint32_t hop;
    uint64_t srtt_ns;
    uint64_t rttvar_ns;
    uint64_t samples;
} bb_rtt_report;

/* Check an Envelope whole and read what stands in it once, and the first of the rest. On refusal `*stopped` is the offset
 * of the top-level field at fault. */
int bb_scan_envelope(
    const uint8_t *data, size_t length, const bb_limits *limits, bb_envelope *out, size_t *stopped
);

/* Read the next field and move past it; a group is skipped whole. Call it while `at < end`. On refusal `at` stays. */
int bb_next_field(bb_cursor *cursor, bb_field *out);

/* Read a nested message. A field that stands twice counts as it stands last. */
int bb_read_fill(const uint8_t *data, bb_span span, bb_fill *out);
int bb_read_rtt_report(const uint8_t *data, bb_span span, bb_rtt_report *out);

#endif
