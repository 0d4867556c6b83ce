#include "bb_varint.h"

enum { NUMBER = 0, BYTES = 2 };

int bb_read_varint(const uint8_t *at, size_t left, int longest, uint64_t *out) {
    uint64_t value = 0;
    for (int i = 0; i < longest; i++) {
        if ((size_t)i >= left) {
            return 0;
        }
        value |= (uint64_t)(at[i] & 0x7F) << (7 * i);
        if (at[i] < 0x80) {
            *out = value;
            return i + 1;
        }
    }
    return -1;
}

size_t bb_varint_size(uint64_t value) {
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
}

size_t bb_number_size(uint64_t value) {
    return value == 0 ? 0 : 1 + bb_varint_size(value);
}

size_t bb_bytes_size(size_t length) {
    return 1 + bb_varint_size(length) + length;
}

uint8_t *bb_put_varint(uint8_t *to, uint64_t value) {
    while (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

uint8_t *bb_put_number(uint8_t *to, uint32_t field, uint64_t value) {
    if (value == 0) {
        return to;
    }
    *to++ = (uint8_t)(field << 3 | NUMBER);
    return bb_put_varint(to, value);
}

uint8_t *bb_put_head(uint8_t *to, uint32_t field, size_t length) {
    *to++ = (uint8_t)(field << 3 | BYTES);
    return bb_put_varint(to, length);
}
