/* The alphabet of Protocol Buffers: base-128 varints and the heads of fields.
 *
 * Readers take (pointer, length) pairs and never look past them. Writers take a pointer into a block that the caller
 * has measured with the size functions, and return where the next byte goes.
 *
 * Field numbers given to the writers are below 16, so that a field's key is one byte.
 *
 * All of it is inline: an Envelope has some twenty varints, most of one byte, and a call costs more than such a one.
 *
 * Source: Protocol Buffers, "Encoding"; docs/reference/wire.md.
 */
#ifndef BB_VARINT_H
#define BB_VARINT_H

#include <stddef.h>
#include <stdint.h>

enum { BB_VARINT_MAX = 10 };
enum { BB_WIRE_NUMBER = 0, BB_WIRE_BYTES = 2 };

/* --- eight bytes of a varint at once ------------------------------------------------------------------------------
 *
 * Hashes and ids take nine or ten bytes, and the exit of a loop over them is mispredicted as often as not. */

#define BB_EACH_TOP UINT64_C(0x8080808080808080)

/* Gcc and clang make one load, or one store, of these. */
static inline uint64_t bb_load8(const uint8_t *at) {
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) {
        word |= (uint64_t)at[i] << (8 * i);
    }
    return word;
}

static inline void bb_store8(uint8_t *to, uint64_t word) {
    for (int i = 0; i < 8; i++) {
        to[i] = (uint8_t)(word >> (8 * i));
    }
}

/* The low seven bits of each byte, put together. */
static inline uint64_t bb_squeeze(uint64_t word) {
    word = (word & UINT64_C(0x007F007F007F007F)) | ((word & UINT64_C(0x7F007F007F007F00)) >> 1);
    word = (word & UINT64_C(0x00003FFF00003FFF)) | ((word & UINT64_C(0x3FFF00003FFF0000)) >> 2);
    return (word & UINT64_C(0x000000000FFFFFFF)) | ((word & UINT64_C(0x0FFFFFFF00000000)) >> 4);
}

/* The low 56 bits, seven to a byte. */
static inline uint64_t bb_spread(uint64_t value) {
    value = (value & UINT64_C(0x000000000FFFFFFF)) | ((value & UINT64_C(0x00FFFFFFF0000000)) << 4);
    value = (value & UINT64_C(0x00003FFF00003FFF)) | ((value & UINT64_C(0x0FFFC0000FFFC000)) << 2);
    return (value & UINT64_C(0x007F007F007F007F)) | ((value & UINT64_C(0x3F803F803F803F80)) << 1);
}

/* --- varints -------------------------------------------------------------------------------------------------------- */

/* Read one varint of at most `longest` bytes. Returns the bytes used (1..longest), 0 when `left` ends first, -1 when the
 * varint is longer. Bits above the 64th are dropped. */
static inline int bb_read_varint(const uint8_t *at, size_t left, int longest, uint64_t *out) {
    uint64_t value = 0;
    int first = 0;
    if (left > 0 && at[0] < 0x80) {
        *out = at[0];
        return 1;
    }
    if (left >= 8 && longest >= 8) {
        const uint64_t word = bb_load8(at);
        if ((word & BB_EACH_TOP) == BB_EACH_TOP) {
            value = bb_squeeze(word);
            first = 8;
        }
    }
    for (int i = first; i < longest; i++) {
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

/* Bytes that a varint takes, 1..10: seven bits each. */
static inline size_t bb_varint_size(uint64_t value) {
#if defined(__GNUC__)
    const unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    return (bits * 9 + 64) / 64; /* ceil(bits / 7) for 1..64, without a division */
#else
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
#endif
}

/* Bytes that a number's field takes: key and varint, or nothing for zero, which proto3 leaves out. */
static inline size_t bb_number_size(uint64_t value) {
    return value == 0 ? 0 : 1 + bb_varint_size(value);
}

/* Bytes that a field of `length` bytes takes: key, length and the bytes. */
static inline size_t bb_bytes_size(size_t length) {
    return 1 + bb_varint_size(length) + length;
}

static inline uint8_t *bb_put_varint(uint8_t *to, uint64_t value) {
    if (value >> 56) {
        bb_store8(to, bb_spread(value) | BB_EACH_TOP);
        to += 8;
        value >>= 56;
    }
    while (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

/* Write a number's field; writes nothing for zero. */
static inline uint8_t *bb_put_number(uint8_t *to, uint32_t field, uint64_t value) {
    if (value == 0) {
        return to;
    }
    *to++ = (uint8_t)(field << 3 | BB_WIRE_NUMBER);
    return bb_put_varint(to, value);
}

/* Write the key and the length of a field of bytes; the bytes themselves are the caller's to copy. */
static inline uint8_t *bb_put_head(uint8_t *to, uint32_t field, size_t length) {
    *to++ = (uint8_t)(field << 3 | BB_WIRE_BYTES);
    return bb_put_varint(to, length);
}

#endif
