/* The alphabet of Protocol Buffers: base-128 varints and the heads of fields.
 *
 * Readers take (pointer, length) pairs and never look past them. Writers take a pointer into a block that the caller
 * has measured with the size functions, and return where the next byte goes.
 *
 * Field numbers given to the writers are below 16, so that a field's key is one byte.
 *
 * Source: Protocol Buffers, "Encoding"; docs/reference/wire.md.
 */
#ifndef BB_VARINT_H
#define BB_VARINT_H

#include <stddef.h>
#include <stdint.h>

enum { BB_VARINT_MAX = 10 };

/* Read one varint of at most `longest` bytes. Returns the bytes used (1..longest), 0 when `left` ends first, -1 when the
 * varint is longer. Bits above the 64th are dropped. */
int bb_read_varint(const uint8_t *at, size_t left, int longest, uint64_t *out);

/* Bytes that a varint takes, 1..10. */
size_t bb_varint_size(uint64_t value);

/* Bytes that a number's field takes: key and varint, or nothing for zero, which proto3 leaves out. */
size_t bb_number_size(uint64_t value);

/* Bytes that a field of `length` bytes takes: key, length and the bytes. */
size_t bb_bytes_size(size_t length);

uint8_t *bb_put_varint(uint8_t *to, uint64_t value);

/* Write a number's field; writes nothing for zero. */
uint8_t *bb_put_number(uint8_t *to, uint32_t field, uint64_t value);

/* Write the key and the length of a field of bytes; the bytes themselves are the caller's to copy. */
uint8_t *bb_put_head(uint8_t *to, uint32_t field, size_t length);

#endif
