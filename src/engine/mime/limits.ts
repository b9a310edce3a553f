/**
 * Limits of the MIME reader. Past one of them a part is not taken apart, which is no loss: it is sealed whole. The header
 * block's is the only one that refuses a message, since headers are held in memory.
 */

/** Multiparts and nested messages inside each other. Dovecot stops at 100; each level costs us a frame and a boundary. */
export const MAX_NESTING = 64

/** Multiparts and nested messages in one message: bounds the work and memory of those that are nothing but structure. */
export const MAX_CONTAINERS = 10_000

/**
 * Leaves of a message that are sealed each for itself. One costs 250 octets and 25 microseconds though it be empty: a
 * megabyte of nothing but delimiters and blank lines would be 52 megabytes, and five seconds. The last one has all the rest.
 */
export const MAX_LEAVES = 10_000

/**
 * Header fields of a message behind which the next part has all the rest: sealed, each takes 70 octets at least, and
 * six microseconds. A digest of a thousand messages has fewer.
 */
export const MAX_FIELDS = 100_000

/**
 * Octets of a multipart in front of its first delimiter. They stand in plain: a line or two for readers without MIME.
 * Where more comes, or never a delimiter, it is the content that stands there.
 */
export const MAX_PREAMBLE_OCTETS = 4096

/** Parameters of a Content-Type. Real ones have five. */
export const MAX_PARAMETERS = 64

/** Octets of a boundary. RFC 2046 §5.1.1 allows 70, some programs write more. */
export const MAX_BOUNDARY_OCTETS = 200

/** Octets of a header block that is to be sealed (message-format.md §3). */
export const MAX_HEADER_OCTETS = 1 << 20

/**
 * Octets of a sealed header block: `a:` grows 22 times when it is sealed, and beside it stands the exactness header of a
 * leaf that was examined whole, which can need 1.8 octets for each of 4 MiB. Nothing that {@link MAX_HEADER_OCTETS} lets
 * through can be longer than this, and what is longer was not sealed by anyone.
 */
export const MAX_SEALED_HEADER_OCTETS = 32 << 20
