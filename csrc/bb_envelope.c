#include "bb_envelope.h"

#include <string.h>

#include "bb_varint.h"

/* A field's key: number << 3 | wire type. Google's decoder takes a key or a length of five bytes at most. */
enum { KEY_BYTES = 5 };
/* Whether a top-level field of bytes is repeated. */
#define BB_IS_ITEM(number) ((number) == 1 || (number) == 2 || (number) == 5 || (number) == 8)
#define KEY(number, wire) ((number) << 3 | (wire))

/* --- fields ------------------------------------------------------------------------------------------------------- */

/* A position moves only when what stands there has been read, and is kept in a register until then: on short fields the
 * stores and loads would be most of the work. */

static inline int read_number(const bb_cursor *cursor, size_t *at, int longest, uint64_t *out) {
    const int used = bb_read_varint(cursor->data + *at, cursor->end - *at, longest, out);
    if (used <= 0) {
        return used == 0 ? BB_TRUNCATED : BB_MALFORMED;
    }
    *at += (size_t)used;
    return BB_OK;
}

static inline int read_key(const bb_cursor *cursor, size_t *at, bb_field *out) {
    uint64_t key;
    const int status = read_number(cursor, at, KEY_BYTES, &key);
    if (status != BB_OK) {
        return status;
    }
    if (key > UINT32_MAX) {
        return BB_MALFORMED;
    }
    out->number = (uint32_t)key >> 3;
    out->wire = (uint32_t)key & 7;
    return BB_OK;
}

static inline int take(const bb_cursor *cursor, size_t *at, uint64_t length, bb_span *out) {
    if (length > cursor->end - *at) {
        return BB_TRUNCATED;
    }
    out->at = *at;
    out->length = (size_t)length;
    *at += (size_t)length;
    return BB_OK;
}

/* Read what follows a key that does not open or close a group. */
static inline int read_content(const bb_cursor *cursor, size_t *at, bb_field *out) {
    uint64_t length;
    int status;
    switch (out->wire) {
    case BB_NUMBER:
        return read_number(cursor, at, BB_VARINT_MAX, &out->value);
    case BB_BYTES:
        status = read_number(cursor, at, KEY_BYTES, &length);
        return status == BB_OK ? take(cursor, at, length, &out->bytes) : status;
    case BB_FIXED64:
        return take(cursor, at, 8, &out->bytes);
    case BB_FIXED32:
        return take(cursor, at, 4, &out->bytes);
    default:
        return BB_MALFORMED;
    }
}

/* Skip a group to its end, groups inside it included. The stack of open groups is fixed, so that depth costs nothing. */
static int skip_group(const bb_cursor *cursor, size_t *at, uint32_t number) {
    uint32_t open[BB_MAX_GROUPS] = {number};
    size_t depth = 1;
    while (depth > 0) {
        bb_field field;
        int status = read_key(cursor, at, &field);
        if (status != BB_OK) {
            return status;
        }
        if (field.wire == BB_GROUP) {
            if (depth == BB_MAX_GROUPS) {
                return BB_MALFORMED;
            }
            open[depth++] = field.number;
        } else if (field.wire == BB_GROUP_END) {
            if (open[--depth] != field.number) {
                return BB_MALFORMED;
            }
        } else if ((status = read_content(cursor, at, &field)) != BB_OK) {
            return status;
        }
    }
    return BB_OK;
}

static inline int next_field(bb_cursor *cursor, bb_field *out) {
    size_t at = cursor->at;
    out->value = 0;
    int status = read_key(cursor, &at, out);
    if (status != BB_OK) {
        return status;
    }
    if (out->number == 0) {
        return BB_MALFORMED;
    }
    status = out->wire == BB_GROUP ? skip_group(cursor, &at, out->number) : read_content(cursor, &at, out);
    if (status == BB_OK) {
        cursor->at = at;
    }
    return status;
}

int bb_next_field(bb_cursor *cursor, bb_field *out) {
    return next_field(cursor, out);
}

/* --- nested messages ---------------------------------------------------------------------------------------------- */

static bb_cursor inside(const uint8_t *data, bb_span span) {
    return (bb_cursor){data, span.at, span.at + span.length};
}

int bb_read_fill(const uint8_t *data, bb_span span, bb_fill *out) {
    bb_cursor cursor = inside(data, span);
    bb_field field;
    memset(out, 0, sizeof *out);
    while (cursor.at < cursor.end) {
        const int status = next_field(&cursor, &field);
        if (status != BB_OK) {
            return status;
        }
        switch (KEY(field.number, field.wire)) {
        case KEY(1, BB_BYTES): out->dest_suffix = field.bytes; break;
        case KEY(2, BB_BYTES): out->payload = field.bytes; break;
        case KEY(3, BB_NUMBER): out->trigger_only = field.value != 0; break;
        case KEY(4, BB_NUMBER): out->type_hash = field.value; break;
        }
    }
    return BB_OK;
}

int bb_read_rtt_report(const uint8_t *data, bb_span span, bb_rtt_report *out) {
    bb_cursor cursor = inside(data, span);
    bb_field field;
    memset(out, 0, sizeof *out);
    while (cursor.at < cursor.end) {
        const int status = next_field(&cursor, &field);
        if (status != BB_OK) {
            return status;
        }
        switch (KEY(field.number, field.wire)) {
        case KEY(1, BB_NUMBER): out->site = field.value; break;
        case KEY(2, BB_NUMBER): out->chain = field.value; break;
        case KEY(3, BB_NUMBER): out->hop = (uint32_t)field.value; break;
        case KEY(4, BB_NUMBER): out->srtt_ns = field.value; break;
        case KEY(5, BB_NUMBER): out->rttvar_ns = field.value; break;
        case KEY(6, BB_NUMBER): out->samples = field.value; break;
        }
    }
    return BB_OK;
}

/* A correlation that stands twice is one message: what the second leaves out is kept from the first. */
static int merge_correlation(const uint8_t *data, bb_span span, bb_envelope *out) {
    bb_cursor cursor = inside(data, span);
    bb_field field;
    out->has_correlation = 1;
    while (cursor.at < cursor.end) {
        const int status = next_field(&cursor, &field);
        if (status != BB_OK) {
            return status;
        }
        switch (KEY(field.number, field.wire)) {
        case KEY(1, BB_NUMBER): out->kind = (int32_t)(uint32_t)field.value; break;
        case KEY(2, BB_NUMBER): out->request = field.value; break;
        }
    }
    return BB_OK;
}

/* --- the Envelope ------------------------------------------------------------------------------------------------- */

/* Check one fill, and keep it when it is among the first; `out` has counted it already. */
static int check_fill(const uint8_t *data, bb_span span, const bb_limits *limits, bb_envelope *out) {
    bb_fill other;
    bb_fill *fill = out->fills <= BB_FIRST_FILLS ? &out->first_fills[out->fills - 1] : &other;
    const int status = bb_read_fill(data, span, fill);
    if (status != BB_OK) {
        return status;
    }
    if (fill->payload.length > limits->payload_bytes) {
        return BB_PAYLOAD_BYTES;
    }
    return fill->dest_suffix.length > limits->suffix_bytes ? BB_SUFFIX_BYTES : BB_OK;
}

static int check_rtt_report(const uint8_t *data, bb_span span) {
    bb_rtt_report report;
    return bb_read_rtt_report(data, span, &report);
}

static int check_src_address(bb_span span, const bb_limits *limits) {
    return span.length > limits->src_address_bytes ? BB_SRC_ADDRESS_BYTES : BB_OK;
}

/* Count one more; `refusal` when that is one too many. */
static int count(size_t *counted, size_t limit, int refusal) {
    *counted += 1;
    return *counted > limit ? refusal : BB_OK;
}

/* Keep where an item is, as long as all items before it have been kept. */
static inline void note(const bb_field *field, size_t after, bb_envelope *out) {
    if (field->wire == BB_BYTES && BB_IS_ITEM(field->number) && out->noted < BB_FIRST_ITEMS) {
        out->items[out->noted++] = (bb_item){field->number, field->bytes};
        out->noted_to = after;
    }
}

static int take_field(const uint8_t *data, const bb_field *field, const bb_limits *limits, bb_envelope *out) {
    int status;
    switch (KEY(field->number, field->wire)) {
    case KEY(1, BB_BYTES):
        return count(&out->dest_addresses, limits->dest_addresses, BB_DEST_ADDRESSES);
    case KEY(2, BB_BYTES):
        status = count(&out->fills, limits->fills, BB_FILLS);
        return status == BB_OK ? check_fill(data, field->bytes, limits, out) : status;
    case KEY(3, BB_BYTES):
        return merge_correlation(data, field->bytes, out);
    case KEY(4, BB_NUMBER):
        out->remaining_deadline_ns = field->value;
        return BB_OK;
    case KEY(5, BB_BYTES):
        status = count(&out->rtt_reports, limits->rtt_reports, BB_RTT_REPORTS);
        return status == BB_OK ? check_rtt_report(data, field->bytes) : status;
    case KEY(6, BB_BYTES):
        out->src_peer = field->bytes;
        return BB_OK;
    case KEY(7, BB_NUMBER):
        out->schema_version = (uint32_t)field->value;
        return BB_OK;
    case KEY(8, BB_BYTES):
        status = count(&out->src_addresses, limits->src_addresses, BB_SRC_ADDRESSES);
        return status == BB_OK ? check_src_address(field->bytes, limits) : status;
    default: /* a field that this release does not know */
        return BB_OK;
    }
}

int bb_scan_envelope(
    const uint8_t *data, size_t length, const bb_limits *limits, bb_envelope *out, size_t *stopped
) {
    bb_cursor cursor = {data, 0, length};
    bb_field field;
    size_t version_at = 0;
    memset(out, 0, offsetof(bb_envelope, first_fills));
    while (cursor.at < cursor.end) {
        *stopped = cursor.at;
        int status = next_field(&cursor, &field);
        if (status == BB_OK) {
            status = take_field(data, &field, limits, out);
        }
        if (status != BB_OK) {
            return status;
        }
        note(&field, cursor.at, out);
        if (KEY(field.number, field.wire) == KEY(7, BB_NUMBER)) {
            version_at = *stopped;
        }
    }
    if (out->noted < BB_FIRST_ITEMS) {
        out->noted_to = length;
    }
    *stopped = version_at;
    /* A sender that does not know the field leaves it out, which reads as 0. */
    return out->schema_version <= BB_SCHEMA_VERSION ? BB_OK : BB_VERSION;
}
