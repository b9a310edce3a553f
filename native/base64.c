/* Base64 (RFC 2045 section 6.8), see codecs.h. Four characters at a time by table, or 32 at a time where AVX2 is. */
#include "codecs.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const char ALPHABET[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define SKIP 64

/* Sextet of each octet, SKIP for those outside the alphabet. */
static uint8_t sextet_of[256];
/* The same at each place of a group, so that the three octets lie in memory order; BAD in the top octet. */
#define BAD 0xff000000u
static uint32_t place[4][256];
/* Two characters of twelve bits. */
static uint16_t pair_of[4096];
static int has_avx2;

/* Once, when the library is loaded: before any thread can use a table. */
__attribute__((constructor)) static void make_tables(void) {
  memset(sextet_of, SKIP, sizeof sextet_of);
  for (unsigned i = 0; i < 64; i++) sextet_of[(uint8_t)ALPHABET[i]] = (uint8_t)i;
  for (unsigned octet = 0; octet < 256; octet++) {
    for (int p = 0; p < 4; p++) {
      uint32_t group = (uint32_t)sextet_of[octet] << (18 - 6 * p);
      place[p][octet] = sextet_of[octet] == SKIP
                            ? BAD
                            : (group >> 16 & 0xff) | (group & 0xff00) | (group & 0xff) << 16;
    }
  }
  for (unsigned i = 0; i < 4096; i++) {
    uint8_t two[2] = {(uint8_t)ALPHABET[i >> 6], (uint8_t)ALPHABET[i & 63]};
    memcpy(&pair_of[i], two, 2);
  }
#if defined(__x86_64__)
  __builtin_cpu_init();
  has_avx2 = __builtin_cpu_supports("avx2") != 0;
#endif
}

size_t max_base64_decoded(size_t input_octets) { return ((input_octets + 3) * 3 + 3) / 4; }

static size_t characters_of(size_t octets, int padded) {
  return padded ? (octets + 2) / 3 * 4 : (octets * 4 + 2) / 3;
}

size_t base64_encoded_octets(size_t octets, size_t width, size_t separator, int padded, size_t column) {
  size_t characters = characters_of(octets, padded);
  if (characters == 0 || width == 0) return characters;
  return characters + separator * ((column + characters - 1) / width);
}

#if defined(__x86_64__)
/*
 * Decodes blocks of 32 characters while all are of the alphabet. Stores 32 octets for 24: stops while `out` has less.
 * Classification by the two nibbles of each character, as published by Mula and Lemire (2018).
 */
__attribute__((target("avx2"))) static size_t decode_wide(const uint8_t *in, size_t length, uint8_t *out, size_t room) {
  const __m256i low_table = _mm256_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a,
                                             0x1b, 0x1b, 0x1b, 0x1a, 0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                             0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a);
  const __m256i high_table = _mm256_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10,
                                              0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08,
                                              0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10);
  const __m256i roll_table = _mm256_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 19, 4,
                                              -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m256i nibble = _mm256_set1_epi8(0x2f);
  const __m256i order = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1, 2, 1, 0, 6, 5, 4, 10,
                                         9, 8, 14, 13, 12, -1, -1, -1, -1);
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
  size_t at = 0;
  while (length - at >= 32 && room - at / 4 * 3 >= 32) {
    __m256i text = _mm256_loadu_si256((const __m256i *)(in + at));
    __m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), nibble);
    __m256i low = _mm256_and_si256(text, nibble);
    __m256i high_class = _mm256_shuffle_epi8(high_table, high);
    __m256i low_class = _mm256_shuffle_epi8(low_table, low);
    if (!_mm256_testz_si256(low_class, high_class)) break;
    __m256i is_slash = _mm256_cmpeq_epi8(text, nibble);
    __m256i roll = _mm256_shuffle_epi8(roll_table, _mm256_add_epi8(is_slash, high));
    __m256i sextets = _mm256_add_epi8(text, roll);
    __m256i pairs = _mm256_maddubs_epi16(sextets, _mm256_set1_epi32(0x01400140));
    __m256i groups = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));
    __m256i octets = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(groups, order), lanes);
    _mm256_storeu_si256((__m256i *)(out + at / 4 * 3), octets);
    at += 32;
  }
  return at;
}

/* Encodes blocks of 24 octets to 32 characters; reads 32 octets from 4 before each block's end. */
__attribute__((target("avx2"))) static size_t encode_wide(const uint8_t *in, size_t length, size_t readable,
                                                          uint8_t *out) {
  const __m256i spread = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, 1, 0, 2, 1, 4, 3, 5, 4, 7,
                                          6, 8, 7, 10, 9, 11, 10);
  const __m256i shift_table = _mm256_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                               '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0,
                                               'a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                               '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
  size_t at = 0;
  while (length - at >= 24 && readable - at >= 28) {
    __m128i first = _mm_loadu_si128((const __m128i *)(in + at));
    __m128i second = _mm_loadu_si128((const __m128i *)(in + at + 12));
    __m256i octets = _mm256_shuffle_epi8(_mm256_set_m128i(second, first), spread);
    __m256i odd = _mm256_mulhi_epu16(_mm256_and_si256(octets, _mm256_set1_epi32(0x0fc0fc00)),
                                     _mm256_set1_epi32(0x04000040));
    __m256i even = _mm256_mullo_epi16(_mm256_and_si256(octets, _mm256_set1_epi32(0x003f03f0)),
                                      _mm256_set1_epi32(0x01000010));
    __m256i sextets = _mm256_or_si256(odd, even);
    __m256i class = _mm256_subs_epu8(sextets, _mm256_set1_epi8(51));
    __m256i is_upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), sextets);
    class = _mm256_or_si256(class, _mm256_and_si256(is_upper, _mm256_set1_epi8(13)));
    __m256i text = _mm256_add_epi8(sextets, _mm256_shuffle_epi8(shift_table, class));
    _mm256_storeu_si256((__m256i *)(out + at / 3 * 4), text);
    at += 24;
  }
  return at;
}
#endif

static uint8_t *flush(uint32_t bits, uint32_t held, uint8_t *out) {
  if (held == 2) *out++ = (uint8_t)(bits >> 4);
  if (held == 3) {
    *out++ = (uint8_t)(bits >> 10);
    *out++ = (uint8_t)(bits >> 2);
  }
  return out;
}

size_t decode_base64(const uint8_t *in, size_t length, uint32_t carry[2], int last, uint8_t *out) {
  const uint8_t *const end = in + length;
  const uint8_t *const room_end = out + max_base64_decoded(length);
  uint8_t *to = out;
  uint32_t bits = carry[0] & 0xffffff;
  uint32_t held = carry[1] & 3;
  while (in < end) {
    if (held == 0) {
#if defined(__x86_64__)
      if (has_avx2) {
        size_t done = decode_wide(in, (size_t)(end - in), to, (size_t)(room_end - to));
        in += done;
        to += done / 4 * 3;
      }
#endif
      while (end - in >= 4) {
        uint32_t group = place[0][in[0]] | place[1][in[1]] | place[2][in[2]] | place[3][in[3]];
        if (group & BAD) break;
        to[0] = (uint8_t)group;
        to[1] = (uint8_t)(group >> 8);
        to[2] = (uint8_t)(group >> 16);
        to += 3;
        in += 4;
      }
      if (in == end) break;
    }
    uint8_t octet = *in++;
    uint8_t sextet = sextet_of[octet];
    if (sextet < SKIP) {
      bits = bits << 6 | sextet;
      if (++held < 4) continue;
      *to++ = (uint8_t)(bits >> 16);
      *to++ = (uint8_t)(bits >> 8);
      *to++ = (uint8_t)bits;
      held = bits = 0;
    } else if (octet == '=') {
      to = flush(bits, held, to);
      held = bits = 0;
    }
  }
  if (last) {
    to = flush(bits, held, to);
    held = bits = 0;
  }
  carry[0] = bits;
  carry[1] = held;
  return (size_t)(to - out);
}

/* Whole groups only. readable: octets from `in` on that may be read, the input's end. Returns characters written. */
static size_t encode_groups(const uint8_t *in, size_t length, size_t readable, uint8_t *out) {
  size_t at = 0;
#if defined(__x86_64__)
  if (has_avx2) at = encode_wide(in, length, readable, out);
#else
  (void)readable;
#endif
  uint8_t *to = out + at / 3 * 4;
  for (; at < length; at += 3, to += 4) {
    uint32_t group = (uint32_t)in[at] << 16 | (uint32_t)in[at + 1] << 8 | in[at + 2];
    memcpy(to, &pair_of[group >> 12], 2);
    memcpy(to + 2, &pair_of[group & 0xfff], 2);
  }
  return (size_t)(to - out);
}

/* One or two octets. */
static size_t encode_rest(const uint8_t *in, size_t length, int padded, uint8_t *out) {
  if (length == 0) return 0;
  uint32_t group = (uint32_t)in[0] << 16 | (length == 2 ? (uint32_t)in[1] << 8 : 0);
  out[0] = (uint8_t)ALPHABET[group >> 18];
  out[1] = (uint8_t)ALPHABET[group >> 12 & 63];
  if (length == 2) out[2] = (uint8_t)ALPHABET[group >> 6 & 63];
  size_t characters = length + 1;
  if (padded)
    while (characters < 4) out[characters++] = '=';
  return characters;
}

/* An empty one has no address. */
static uint8_t *put_separator(uint8_t *to, const uint8_t *separator, size_t length) {
  if (length > 0) memcpy(to, separator, length);
  return to + length;
}

/* Any width: groups may be split between lines. */
static size_t encode_ragged(const uint8_t *in, size_t length, size_t width, const uint8_t *separator,
                            size_t separator_length, int padded, size_t column, uint8_t *out) {
  uint8_t *to = out;
  uint8_t group[4];
  for (size_t at = 0; at < length; at += 3) {
    size_t rest = length - at;
    size_t characters = rest >= 3 ? encode_groups(in + at, 3, 3, group) : encode_rest(in + at, rest, padded, group);
    for (size_t i = 0; i < characters; i++) {
      if (column == width) {
        to = put_separator(to, separator, separator_length);
        column = 0;
      }
      *to++ = group[i];
      column++;
    }
  }
  return (size_t)(to - out);
}

size_t encode_base64(const uint8_t *in, size_t length, size_t width, const uint8_t *separator, size_t separator_length,
                     int padded, uint32_t *column, uint8_t *out) {
  size_t characters = characters_of(length, padded);
  if (characters == 0) return 0;
  size_t col = *column;
  size_t end = col + characters;
  *column = (uint32_t)(width == 0 ? end : (end - 1) % width + 1);
  size_t whole = length - length % 3;
  const uint8_t *const input_end = in + length;
  uint8_t *to = out;
  if (width == 0 || end <= width) {
    to += encode_groups(in, whole, length, to);
    return (size_t)(to - out) + encode_rest(in + whole, length - whole, padded, to);
  }
  if (width % 4 != 0 || col % 4 != 0 || col > width) {
    return encode_ragged(in, length, width, separator, separator_length, padded, col, out);
  }
  const uint8_t *const groups_end = in + whole;
  while (in < groups_end) {
    if (col == width) {
      to = put_separator(to, separator, separator_length);
      col = 0;
    }
    size_t line = (width - col) / 4 * 3;
    size_t octets = line < (size_t)(groups_end - in) ? line : (size_t)(groups_end - in);
    to += encode_groups(in, octets, (size_t)(input_end - in), to);
    in += octets;
    col += octets / 3 * 4;
  }
  if (length > whole) {
    if (col == width) to = put_separator(to, separator, separator_length);
    to += encode_rest(in, length - whole, padded, to);
  }
  return (size_t)(to - out);
}
