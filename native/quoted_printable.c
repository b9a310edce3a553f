/* Quoted-printable (RFC 2045 section 6.7), see codecs.h. Sixteen plain octets at a time where SSE2 is. */
#include "codecs.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Longest line, its soft break's '=' included (rule 5). */
#define WIDTH 76
/* White space that may stand between '=' and the line end: bounds what is held. */
#define MAX_PADDING 76
/* Octets that the encoder must see coming: CR and LF. */
#define LOOK_AHEAD 2

static int nibble_of(uint8_t octet) {
  if (octet >= '0' && octet <= '9') return octet - '0';
  if (octet >= 'A' && octet <= 'F') return octet - 'A' + 10;
  if (octet >= 'a' && octet <= 'f') return octet - 'a' + 10;
  return -1;
}

/* Octets from `in` up to the next '='; copied to `out`, which has room for all of them. */
static size_t copy_plain(const uint8_t *in, size_t length, uint8_t *out) {
  size_t at = 0;
#if defined(__SSE2__)
  const __m128i equals = _mm_set1_epi8('=');
  while (length - at >= 16) {
    __m128i octets = _mm_loadu_si128((const __m128i *)(in + at));
    int found = _mm_movemask_epi8(_mm_cmpeq_epi8(octets, equals));
    _mm_storeu_si128((__m128i *)(out + at), octets);
    if (found != 0) return at + (size_t)__builtin_ctz((unsigned)found);
    at += 16;
  }
#endif
  for (; at < length && in[at] != '='; at++) out[at] = in[at];
  return at;
}

/* After '=': octets of a soft line break; 0 = it is none; -1 = more input must come. */
static ptrdiff_t soft_break(const uint8_t *in, size_t length, int last) {
  size_t at = 0;
  while (at < length && at <= MAX_PADDING && (in[at] == ' ' || in[at] == '\t')) at++;
  if (at > MAX_PADDING) return 0;
  if (at == length) return last ? (ptrdiff_t)at : -1;
  if (in[at] == '\n') return (ptrdiff_t)at + 1;
  if (in[at] != '\r') return 0;
  if (at + 1 == length) return last ? (ptrdiff_t)at + 1 : -1;
  return in[at + 1] == '\n' ? (ptrdiff_t)at + 2 : 0;
}

size_t decode_quoted_printable(const uint8_t *in, size_t length, int last, uint32_t *consumed, uint8_t *out) {
  size_t at = 0;
  size_t to = 0;
  while (at < length) {
    /* out never lags behind in: to <= at, so what is copied fits. */
    size_t plain = copy_plain(in + at, length - at, out + to);
    at += plain;
    to += plain;
    if (at == length) break;
    size_t rest = length - at - 1;
    const uint8_t *after = in + at + 1;
    int high = rest > 0 ? nibble_of(after[0]) : -1;
    if (high >= 0) {
      if (rest == 1 && !last) break;
      int low = rest > 1 ? nibble_of(after[1]) : -1;
      if (low >= 0) {
        out[to++] = (uint8_t)(high << 4 | low);
        at += 3;
      } else {
        out[to++] = '=';
        at++;
      }
      continue;
    }
    ptrdiff_t octets = soft_break(after, rest, last);
    if (octets < 0) break;
    if (octets > 0 || rest == 0) {
      at += 1 + (size_t)octets;
    } else {
      out[to++] = '=';
      at++;
    }
  }
  *consumed = (uint32_t)at;
  return to;
}

size_t max_quoted_printable(size_t input_octets) { return input_octets * 3 + 3 * ((input_octets + 23) / 24 + 2); }

static int is_line_end(const uint8_t *in, size_t at, size_t length) {
  if (at >= length) return 1;
  return in[at] == '\n' || (in[at] == '\r' && at + 1 < length && in[at + 1] == '\n');
}

static size_t put_soft_break(uint8_t *out) {
  memcpy(out, "=\r\n", 3);
  return 3;
}

#if defined(__SSE2__)
/*
 * Octets of the next sixteen that stand for themselves wherever in a line; all sixteen are copied, so that `out` must
 * have room for them. A blank at the end of the run does not count: a line end may follow it.
 */
static size_t copy_literals(const uint8_t *in, uint8_t *out) {
  __m128i octets = _mm_loadu_si128((const __m128i *)in);
  /* Signed: 0x80 and up are below zero. */
  __m128i other = _mm_or_si128(
      _mm_cmplt_epi8(octets, _mm_set1_epi8(0x20)),
      _mm_or_si128(_mm_cmpeq_epi8(octets, _mm_set1_epi8('=')), _mm_cmpeq_epi8(octets, _mm_set1_epi8(0x7f))));
  _mm_storeu_si128((__m128i *)out, octets);
  size_t run = (size_t)__builtin_ctz((unsigned)_mm_movemask_epi8(other) | 0x10000);
  return run > 0 && in[run - 1] == ' ' ? run - 1 : run;
}
#endif

/* "=XX" of each octet; the fourth is not used. */
static char escape_of[256][4];
/* What an octet is to the encoder. */
enum kind { LITERAL, BLANK, OTHER, CARRIAGE_RETURN, LINE_FEED };
static uint8_t kind_of[256];

__attribute__((constructor)) static void make_tables(void) {
  static const char HEX[16] = "0123456789ABCDEF";
  for (unsigned octet = 0; octet < 256; octet++) {
    escape_of[octet][0] = '=';
    escape_of[octet][1] = HEX[octet >> 4];
    escape_of[octet][2] = HEX[octet & 15];
    kind_of[octet] = octet > ' ' && octet < 0x7f && octet != '=' ? LITERAL : OTHER;
  }
  kind_of[' '] = kind_of['\t'] = BLANK;
  kind_of['\r'] = CARRIAGE_RETURN;
  kind_of['\n'] = LINE_FEED;
}

size_t encode_quoted_printable(const uint8_t *in, size_t length, int last, uint32_t state[2], uint8_t *out) {
  size_t stop = last ? length : length > LOOK_AHEAD ? length - LOOK_AHEAD : 0;
  size_t col = state[0];
  size_t at = 0;
  size_t to = 0;
  while (at < stop) {
    uint8_t octet = in[at];
    uint8_t kind = kind_of[octet];
    if (kind == CARRIAGE_RETURN) kind = at + 1 < length && in[at + 1] == '\n' ? CARRIAGE_RETURN : OTHER;
    /* Octets that fit whatever comes next. */
    if (kind == OTHER && col + 3 <= WIDTH - 1) {
      memcpy(out + to, escape_of[octet], 3);
      at++;
      to += 3;
      col += 3;
      continue;
    }
    if (kind == LITERAL && col + 1 <= WIDTH - 1) {
#if defined(__SSE2__)
      /* Up to the place where a soft break's '=' might have to stand. In that much input the output has room. */
      if (stop - at >= 16) {
        size_t run = copy_literals(in + at, out + to);
        if (run > WIDTH - 1 - col) run = WIDTH - 1 - col;
        at += run;
        to += run;
        col += run;
        continue;
      }
#endif
      out[to++] = octet;
      at++;
      col++;
      continue;
    }
    if (kind == LINE_FEED || kind == CARRIAGE_RETURN) {
      if (kind == CARRIAGE_RETURN) out[to++] = in[at++];
      out[to++] = '\n';
      at++;
      col = 0;
      continue;
    }
    int ends_line = is_line_end(in, at + 1, length);
    int soft_after = kind == BLANK && ends_line && at + 1 < length;
    int escaped = kind == BLANK ? at + 1 == length : kind == OTHER;
    size_t width = escaped ? 3 : 1;
    if (col + width > (size_t)(ends_line && !soft_after ? WIDTH : WIDTH - 1)) {
      to += put_soft_break(out + to);
      col = 0;
    }
    if (escaped) {
      memcpy(out + to, escape_of[octet], 3);
      to += 3;
    } else {
      out[to++] = octet;
    }
    col += width;
    at++;
    if (soft_after) {
      to += put_soft_break(out + to);
      col = 0;
    }
  }
  state[0] = (uint32_t)col;
  state[1] = (uint32_t)at;
  return to;
}
