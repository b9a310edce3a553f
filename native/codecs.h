/*
 * The transfer codings in C. The contracts are those of src/engine/mime/transfer/codecs.ts, whose JavaScript twin
 * gives the very same octets; here in plain words only what C adds: every function stays within the room it is told,
 * and the callers (addon.c) check that the room is what the contract asks for.
 */
#ifndef VESMAIL_CODECS_H
#define VESMAIL_CODECS_H

#include <stddef.h>
#include <stdint.h>

/* Longer separators are refused by the caller. */
#define MAX_SEPARATOR 16

size_t max_base64_decoded(size_t input_octets);
/* Exact: 0 < width, or 0 for one line. */
size_t base64_encoded_octets(size_t octets, size_t width, size_t separator, int padded, size_t column);
size_t max_quoted_printable(size_t input_octets);

/* carry: sextets held, and how many. Returns octets written, at most max_base64_decoded(length). */
size_t decode_base64(const uint8_t *in, size_t length, uint32_t carry[2], int last, uint8_t *out);

/* length: a multiple of 3 unless last. Returns octets written, exactly base64_encoded_octets(...). */
size_t encode_base64(const uint8_t *in, size_t length, size_t width, const uint8_t *separator, size_t separator_length,
                     int padded, uint32_t *column, uint8_t *out);

/* Returns octets written, at most length. */
size_t decode_quoted_printable(const uint8_t *in, size_t length, int last, uint32_t *consumed, uint8_t *out);

/* state: column, and (set) octets consumed. Returns octets written, at most max_quoted_printable(length). */
size_t encode_quoted_printable(const uint8_t *in, size_t length, int last, uint32_t state[2], uint8_t *out);

/* LF octets. */
size_t count_line_feeds(const uint8_t *in, size_t length);

#endif
