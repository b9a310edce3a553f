/* Counting line ends, see codecs.h. Sixteen octets at a time where SSE2 is. */
#include "codecs.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

size_t count_line_feeds(const uint8_t *in, size_t length) {
  size_t lines = 0;
  size_t at = 0;
#if defined(__SSE2__)
  const __m128i line_feed = _mm_set1_epi8('\n');
  const __m128i zero = _mm_setzero_si128();
  while (length - at >= 16) {
    /* Counted in sixteen places, each an octet: added up before one can run over. */
    size_t blocks = (length - at) / 16;
    if (blocks > 255) blocks = 255;
    __m128i counts = zero;
    for (; blocks > 0; blocks--, at += 16) {
      __m128i octets = _mm_loadu_si128((const __m128i *)(in + at));
      counts = _mm_sub_epi8(counts, _mm_cmpeq_epi8(octets, line_feed));
    }
    __m128i sums = _mm_sad_epu8(counts, zero);
    lines += (size_t)_mm_cvtsi128_si64(sums) + (size_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums));
  }
#endif
  for (; at < length; at++) lines += in[at] == '\n';
  return lines;
}
