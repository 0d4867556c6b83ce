/* A libFuzzer target for csrc: whatever the bytes are, the scan ends, and what it accepts can be walked without a fault.
 *
 * The walk is the one of bb_core/wire/_codec.pyx, which checks nothing again once the scan has accepted the bytes.
 * Every byte of every span is read, so that the address sanitizer sees each. `make fuzz` builds and runs it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bb_envelope.h"
#include "bb_varint.h"

#define EXPECT(truth) ((truth) ? (void)0 : abort())

/* As WireLimits() and, so that a short input can exceed them, as small as a limit may be. */
static const bb_limits ROOMY = {256, 4 << 20, 4096, 8, 256, 64, 256};
static const bb_limits TIGHT = {2, 16, 12, 2, 12, 2, 2};

static volatile uint8_t sink;

static int is_inside(bb_span span, size_t from, size_t to) {
    return span.length == 0 || (span.at >= from && span.at <= to && span.length <= to - span.at);
}

static void touch(const uint8_t *data, bb_span span) {
    uint8_t sum = 0;
    for (size_t i = 0; i < span.length; i++) {
        sum ^= data[span.at + i];
    }
    sink = sum;
}

static void write_and_read(uint64_t value) {
    uint8_t block[BB_VARINT_MAX];
    uint64_t back;
    const size_t size = (size_t)(bb_put_varint(block, value) - block);
    EXPECT(size == bb_varint_size(value));
    EXPECT(bb_read_varint(block, size, BB_VARINT_MAX, &back) == (int)size && back == value);
    EXPECT(bb_read_varint(block, size - 1, BB_VARINT_MAX, &back) == 0);
}

static void walk_fill(const uint8_t *data, bb_span span, const bb_limits *limits) {
    bb_fill fill;
    EXPECT(bb_read_fill(data, span, &fill) == BB_OK);
    EXPECT(is_inside(fill.dest_suffix, span.at, span.at + span.length));
    EXPECT(is_inside(fill.payload, span.at, span.at + span.length));
    EXPECT(fill.payload.length <= limits->payload_bytes && fill.dest_suffix.length <= limits->suffix_bytes);
    touch(data, fill.dest_suffix);
    touch(data, fill.payload);
    write_and_read(fill.type_hash);
}

static void walk(const uint8_t *data, size_t length, const bb_limits *limits, const bb_envelope *once) {
    bb_cursor cursor = {data, 0, length};
    bb_field field;
    bb_rtt_report report;
    size_t counts[9] = {0};
    while (cursor.at < cursor.end) {
        const size_t before = cursor.at;
        EXPECT(bb_next_field(&cursor, &field) == BB_OK);
        EXPECT(cursor.at > before && cursor.at <= length && field.number > 0);
        if (field.wire == BB_NUMBER) {
            write_and_read(field.value);
        }
        if (field.wire != BB_BYTES) {
            continue;
        }
        EXPECT(is_inside(field.bytes, before, cursor.at));
        touch(data, field.bytes);
        counts[field.number < 9 ? field.number : 0]++;
        if (field.number == 2) {
            walk_fill(data, field.bytes, limits);
        } else if (field.number == 5) {
            EXPECT(bb_read_rtt_report(data, field.bytes, &report) == BB_OK);
        }
    }
    EXPECT(counts[1] == once->dest_addresses && counts[1] <= limits->dest_addresses);
    EXPECT(counts[2] == once->fills && counts[2] <= limits->fills);
    EXPECT(counts[5] == once->rtt_reports && counts[5] <= limits->rtt_reports);
    EXPECT(counts[8] == once->src_addresses && counts[8] <= limits->src_addresses);
    EXPECT((counts[3] > 0) == once->has_correlation);
    EXPECT(is_inside(once->src_peer, 0, length) && once->schema_version <= BB_SCHEMA_VERSION);
}

static int scan(const uint8_t *data, size_t length, const bb_limits *limits) {
    bb_envelope once;
    size_t stopped = 0;
    const int status = bb_scan_envelope(data, length, limits, &once, &stopped);
    EXPECT(stopped <= length);
    if (status == BB_OK) {
        walk(data, length, limits, &once);
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    const int roomy = scan(data, length, &ROOMY);
    const int tight = scan(data, length, &TIGHT);
    EXPECT(tight != BB_OK || roomy == BB_OK);
    return 0;
}
