/* See chunks.h. */
#include "chunks.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define IV 12

struct direction {
  EVP_CIPHER_CTX *context;
  /* The key that the context holds. Setting one costs as much as a chunk, and a message's headers share it. */
  uint8_t key[KEY];
  int has_key;
};

struct chunks {
  EVP_CIPHER *cipher;
  struct direction seal;
  struct direction open;
};

struct chunks *chunks_new(void) {
  struct chunks *chunks = calloc(1, sizeof *chunks);
  if (chunks == NULL) return NULL;
  chunks->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
  chunks->seal.context = EVP_CIPHER_CTX_new();
  chunks->open.context = EVP_CIPHER_CTX_new();
  if (chunks->cipher == NULL || chunks->seal.context == NULL || chunks->open.context == NULL ||
      EVP_EncryptInit_ex(chunks->seal.context, chunks->cipher, NULL, NULL, NULL) != 1 ||
      EVP_DecryptInit_ex(chunks->open.context, chunks->cipher, NULL, NULL, NULL) != 1) {
    ERR_clear_error();
    chunks_free(chunks);
    return NULL;
  }
  return chunks;
}

void chunks_free(struct chunks *chunks) {
  if (chunks == NULL) return;
  EVP_CIPHER_CTX_free(chunks->seal.context);
  EVP_CIPHER_CTX_free(chunks->open.context);
  EVP_CIPHER_free(chunks->cipher);
  OPENSSL_cleanse(chunks, sizeof *chunks);
  free(chunks);
}

static int set_key(struct direction *direction, const uint8_t *key, int encrypt) {
  if (direction->has_key && CRYPTO_memcmp(direction->key, key, KEY) == 0) return 1;
  direction->has_key = 0;
  if (EVP_CipherInit_ex(direction->context, NULL, NULL, key, NULL, encrypt) != 1) return 0;
  memcpy(direction->key, key, KEY);
  direction->has_key = 1;
  return 1;
}

/* The hash's state after the seed: the same for each chunk of a stream. */
static void begin_iv(SHA256_CTX *seeded, const uint8_t *seed) {
  SHA256_Init(seeded);
  SHA256_Update(seeded, seed, SEED);
}

static void derive_iv(const SHA256_CTX *seeded, const uint8_t *feedback, uint8_t digest[SHA256_DIGEST_LENGTH]) {
  SHA256_CTX hash = *seeded;
  SHA256_Update(&hash, feedback, FEEDBACK);
  SHA256_Final(digest, &hash);
}

ptrdiff_t chunks_seal(struct chunks *chunks, const uint8_t key[KEY_AND_SEED], uint8_t feedback[FEEDBACK],
                      const uint8_t *plain, size_t length, int last, uint8_t *out) {
  SHA256_CTX seeded;
  uint8_t iv[SHA256_DIGEST_LENGTH];
  EVP_CIPHER_CTX *context = chunks->seal.context;
  uint8_t *to = out;
  int ok = set_key(&chunks->seal, key, 1);
  begin_iv(&seeded, key + KEY);
  size_t count = length / CHUNK + (last ? 1 : 0);
  for (size_t i = 0; ok && i < count; i++) {
    size_t rest = length - i * CHUNK;
    int octets = rest < CHUNK ? (int)rest : CHUNK;
    int written = 0;
    derive_iv(&seeded, feedback, iv);
    ok = EVP_EncryptInit_ex(context, NULL, NULL, NULL, iv) == 1 &&
         (octets == 0 || EVP_EncryptUpdate(context, to, &written, plain + i * CHUNK, octets) == 1) &&
         written == octets && EVP_EncryptFinal_ex(context, to + octets, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG, to + octets) == 1;
    if (!ok) break;
    memcpy(feedback, to + octets, FEEDBACK);
    to += octets + TAG;
  }
  OPENSSL_cleanse(&seeded, sizeof seeded);
  OPENSSL_cleanse(iv, sizeof iv);
  if (!ok) {
    chunks->seal.has_key = 0;
    ERR_clear_error();
    return -1;
  }
  return to - out;
}

ptrdiff_t chunks_open(struct chunks *chunks, const uint8_t key[KEY_AND_SEED], uint8_t feedback[FEEDBACK],
                      const uint8_t *sealed, size_t length, int last, uint8_t *out) {
  SHA256_CTX seeded;
  uint8_t iv[SHA256_DIGEST_LENGTH];
  EVP_CIPHER_CTX *context = chunks->open.context;
  const uint8_t *const end = sealed + length;
  uint8_t *to = out;
  ptrdiff_t result = -1;
  int octets = 0;
  if (last && length % SEALED_CHUNK < TAG) return NOT_AUTHENTIC;
  int ok = set_key(&chunks->open, key, 0);
  begin_iv(&seeded, key + KEY);
  while (ok && sealed < end) {
    size_t rest = (size_t)(end - sealed);
    octets = rest < SEALED_CHUNK ? (int)rest - TAG : CHUNK;
    uint8_t tag[TAG];
    int written = 0;
    memcpy(tag, sealed + octets, TAG);
    derive_iv(&seeded, feedback, iv);
    ok = EVP_DecryptInit_ex(context, NULL, NULL, NULL, iv) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1 &&
         (octets == 0 || EVP_DecryptUpdate(context, to, &written, sealed, octets) == 1) && written == octets;
    if (!ok) break;
    if (EVP_DecryptFinal_ex(context, to + octets, &written) != 1) {
      ok = 0;
      result = NOT_AUTHENTIC;
      break;
    }
    memcpy(feedback, tag, FEEDBACK);
    sealed += octets + TAG;
    to += octets;
  }
  OPENSSL_cleanse(&seeded, sizeof seeded);
  OPENSSL_cleanse(iv, sizeof iv);
  if (!ok) {
    /* What was not authentic does not stay in the caller's memory. */
    OPENSSL_cleanse(out, (size_t)(to - out) + (size_t)octets);
    if (result == -1) chunks->open.has_key = 0;
    ERR_clear_error();
    return result;
  }
  return to - out;
}
