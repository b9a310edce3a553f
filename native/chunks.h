/*
 * The chunk loop of AES256GCM1K (src/engine/seal/chunk-cipher.ts) over the AES-GCM and SHA-256 of the OpenSSL that
 * Node exports. No cryptography here, only the loop, the ivs' derivation as the format states it, and the framing.
 */
#ifndef VESMAIL_CHUNKS_H
#define VESMAIL_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#define CHUNK 1024
#define TAG 16
#define SEALED_CHUNK (CHUNK + TAG)
#define FEEDBACK 16
#define KEY 32
#define SEED 12
#define KEY_AND_SEED (KEY + SEED)

/* One for each thread: the cipher contexts live on, since making them costs more than a small message. */
struct chunks;

struct chunks *chunks_new(void);
void chunks_free(struct chunks *chunks);

/* Returns octets written; -1 = OpenSSL failed. length: whole chunks, unless last. */
ptrdiff_t chunks_seal(struct chunks *chunks, const uint8_t key[KEY_AND_SEED], uint8_t feedback[FEEDBACK],
                      const uint8_t *plain, size_t length, int last, uint8_t *out);

#define NOT_AUTHENTIC (-2)
/* Returns octets written; NOT_AUTHENTIC; -1 = OpenSSL failed. length: whole sealed chunks, unless last. */
ptrdiff_t chunks_open(struct chunks *chunks, const uint8_t key[KEY_AND_SEED], uint8_t feedback[FEEDBACK],
                      const uint8_t *sealed, size_t length, int last, uint8_t *out);

#endif
