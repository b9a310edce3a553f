/*
 * The native addon: the chunk loop and the transfer codings for JavaScript, by N-API (version 4 and up, so that it
 * loads in any current Node). Every buffer's length is checked here against what the call may read and write; the
 * functions themselves are in chunks.c, base64.c and quoted_printable.c.
 *
 * A call that is wrong throws a RangeError and touches nothing. All calls run to their end on the calling thread.
 */
#define NAPI_VERSION 4
#include <node_api.h>
#include <stdint.h>
#include <string.h>

#include "chunks.h"
#include "codecs.h"

/* Must be what src/engine/seal/native.ts expects: an addon built from other sources is not used. */
#define INTERFACE_VERSION 2

struct octets {
  uint8_t *data;
  size_t length;
};

static napi_value fail(napi_env env, const char *what) {
  napi_throw_range_error(env, NULL, what);
  return NULL;
}

static int read_octets(napi_env env, napi_value value, struct octets *out) {
  napi_typedarray_type type;
  void *data = NULL;
  if (napi_get_typedarray_info(env, value, &type, &out->length, &data, NULL, NULL) != napi_ok) return 0;
  out->data = data;
  return type == napi_uint8_array;
}

/* `words` 32-bit words that the call reads and writes. */
static uint32_t *read_words(napi_env env, napi_value value, size_t words) {
  napi_typedarray_type type;
  size_t length;
  void *data = NULL;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok) return NULL;
  return type == napi_uint32_array && length >= words ? data : NULL;
}

static napi_value number(napi_env env, int64_t value) {
  napi_value result;
  return napi_create_int64(env, value, &result) == napi_ok ? result : NULL;
}

static int read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments, void **data) {
  size_t given = count;
  return napi_get_cb_info(env, info, &given, arguments, NULL, data) == napi_ok && given == count;
}

/* Input and output must not share memory: output is written while input is still to be read. */
static int overlap(const struct octets *a, const struct octets *b) {
  return a->length > 0 && b->length > 0 && a->data < b->data + b->length && b->data < a->data + a->length;
}

/* seal(key, feedback, plain, last, out) and open(key, feedback, sealed, last, out) */
struct chunk_call {
  struct octets key, feedback, input, out;
  bool last;
};

static int read_chunk_call(napi_env env, napi_callback_info info, struct chunk_call *call, struct chunks **chunks) {
  napi_value arguments[5];
  return read_arguments(env, info, 5, arguments, (void **)chunks) && read_octets(env, arguments[0], &call->key) &&
         read_octets(env, arguments[1], &call->feedback) && read_octets(env, arguments[2], &call->input) &&
         napi_get_value_bool(env, arguments[3], &call->last) == napi_ok && read_octets(env, arguments[4], &call->out) &&
         call->key.length == KEY_AND_SEED && call->feedback.length == FEEDBACK && !overlap(&call->input, &call->out);
}

static napi_value seal(napi_env env, napi_callback_info info) {
  struct chunk_call call;
  struct chunks *chunks;
  if (!read_chunk_call(env, info, &call, &chunks)) return fail(env, "seal(key, feedback, plain, last, out)");
  if (!call.last && call.input.length % CHUNK != 0) return fail(env, "whole chunks only");
  size_t needed = call.input.length + TAG * (call.input.length / CHUNK + (call.last ? 1 : 0));
  if (call.out.length < needed) return fail(env, "no room for the sealed chunks");
  ptrdiff_t written = chunks_seal(chunks, call.key.data, call.feedback.data, call.input.data, call.input.length,
                                  call.last, call.out.data);
  if (written < 0) {
    napi_throw_error(env, NULL, "OpenSSL failed to seal");
    return NULL;
  }
  return number(env, written);
}

static napi_value open(napi_env env, napi_callback_info info) {
  struct chunk_call call;
  struct chunks *chunks;
  if (!read_chunk_call(env, info, &call, &chunks)) return fail(env, "open(key, feedback, sealed, last, out)");
  size_t rest = call.input.length % SEALED_CHUNK;
  if (call.last && rest < TAG) return number(env, -1);
  if (!call.last && rest != 0) return fail(env, "whole chunks only");
  size_t needed = call.input.length / SEALED_CHUNK * CHUNK + (rest < TAG ? 0 : rest - TAG);
  if (call.out.length < needed) return fail(env, "no room for the opened chunks");
  ptrdiff_t written = chunks_open(chunks, call.key.data, call.feedback.data, call.input.data, call.input.length,
                                  call.last, call.out.data);
  if (written == NOT_AUTHENTIC) return number(env, -1);
  if (written < 0) {
    napi_throw_error(env, NULL, "OpenSSL failed to open");
    return NULL;
  }
  return number(env, written);
}

/* decodeBase64(input, carry, last, out) */
static napi_value decode_base64_call(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  struct octets input, out;
  uint32_t *carry;
  bool last;
  if (!read_arguments(env, info, 4, arguments, NULL) || !read_octets(env, arguments[0], &input) ||
      (carry = read_words(env, arguments[1], 2)) == NULL ||
      napi_get_value_bool(env, arguments[2], &last) != napi_ok || !read_octets(env, arguments[3], &out) ||
      overlap(&input, &out)) {
    return fail(env, "decodeBase64(input, carry, last, out)");
  }
  if (out.length < max_base64_decoded(input.length)) return fail(env, "no room for the decoded octets");
  return number(env, (int64_t)decode_base64(input.data, input.length, carry, last, out.data));
}

/* encodeBase64(input, last, width, separator, padded, column, out) */
static napi_value encode_base64_call(napi_env env, napi_callback_info info) {
  napi_value arguments[7];
  struct octets input, separator, out;
  uint32_t *column;
  uint32_t width;
  bool last, padded;
  if (!read_arguments(env, info, 7, arguments, NULL) || !read_octets(env, arguments[0], &input) ||
      napi_get_value_bool(env, arguments[1], &last) != napi_ok ||
      napi_get_value_uint32(env, arguments[2], &width) != napi_ok || !read_octets(env, arguments[3], &separator) ||
      napi_get_value_bool(env, arguments[4], &padded) != napi_ok ||
      (column = read_words(env, arguments[5], 1)) == NULL || !read_octets(env, arguments[6], &out) ||
      overlap(&input, &out) || overlap(&separator, &out)) {
    return fail(env, "encodeBase64(input, last, width, separator, padded, column, out)");
  }
  if (separator.length > MAX_SEPARATOR) return fail(env, "separator too long");
  size_t length = last ? input.length : input.length - input.length % 3;
  if (out.length < base64_encoded_octets(length, width, separator.length, padded, *column)) {
    return fail(env, "no room for the encoded octets");
  }
  size_t written =
      encode_base64(input.data, length, width, separator.data, separator.length, padded, column, out.data);
  return number(env, (int64_t)written);
}

/* decodeQuotedPrintable(input, last, consumed, out) and encodeQuotedPrintable(input, last, state, out) */
static int read_quoted_call(napi_env env, napi_callback_info info, size_t words, struct octets *input, bool *last,
                            uint32_t **state, struct octets *out) {
  napi_value arguments[4];
  return read_arguments(env, info, 4, arguments, NULL) && read_octets(env, arguments[0], input) &&
         napi_get_value_bool(env, arguments[1], last) == napi_ok &&
         (*state = read_words(env, arguments[2], words)) != NULL && read_octets(env, arguments[3], out) &&
         input->length <= UINT32_MAX && !overlap(input, out);
}

static napi_value decode_quoted_call(napi_env env, napi_callback_info info) {
  struct octets input, out;
  uint32_t *consumed;
  bool last;
  if (!read_quoted_call(env, info, 1, &input, &last, &consumed, &out)) {
    return fail(env, "decodeQuotedPrintable(input, last, consumed, out)");
  }
  if (out.length < input.length) return fail(env, "no room for the decoded octets");
  return number(env, (int64_t)decode_quoted_printable(input.data, input.length, last, consumed, out.data));
}

static napi_value encode_quoted_call(napi_env env, napi_callback_info info) {
  struct octets input, out;
  uint32_t *state;
  bool last;
  if (!read_quoted_call(env, info, 2, &input, &last, &state, &out)) {
    return fail(env, "encodeQuotedPrintable(input, last, state, out)");
  }
  if (out.length < max_quoted_printable(input.length)) return fail(env, "no room for the encoded octets");
  return number(env, (int64_t)encode_quoted_printable(input.data, input.length, last, state, out.data));
}

/* countLineFeeds(octets) */
static napi_value count_line_feeds_call(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct octets octets;
  if (!read_arguments(env, info, 1, &argument, NULL) || !read_octets(env, argument, &octets)) {
    return fail(env, "countLineFeeds(octets)");
  }
  return number(env, (int64_t)count_line_feeds(octets.data, octets.length));
}

static void at_thread_end(void *data) { chunks_free(data); }

static int export_function(napi_env env, napi_value exports, const char *name, napi_callback call, void *data) {
  napi_value function;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, call, data, &function) == napi_ok &&
         napi_set_named_property(env, exports, name, function) == napi_ok;
}

/* Once for each thread that loads the addon. */
NAPI_MODULE_INIT(/* napi_env env, napi_value exports */) {
  struct chunks *chunks = chunks_new();
  if (chunks == NULL) {
    napi_throw_error(env, NULL, "OpenSSL has no AES-256-GCM");
    return NULL;
  }
  if (napi_add_env_cleanup_hook(env, at_thread_end, chunks) != napi_ok) {
    chunks_free(chunks);
    return fail(env, "exports");
  }
  napi_value version = number(env, INTERFACE_VERSION);
  if (version == NULL || napi_set_named_property(env, exports, "interfaceVersion", version) != napi_ok ||
      !export_function(env, exports, "seal", seal, chunks) || !export_function(env, exports, "open", open, chunks) ||
      !export_function(env, exports, "decodeBase64", decode_base64_call, NULL) ||
      !export_function(env, exports, "encodeBase64", encode_base64_call, NULL) ||
      !export_function(env, exports, "decodeQuotedPrintable", decode_quoted_call, NULL) ||
      !export_function(env, exports, "encodeQuotedPrintable", encode_quoted_call, NULL) ||
      !export_function(env, exports, "countLineFeeds", count_line_feeds_call, NULL)) {
    return fail(env, "exports");
  }
  return exports;
}
