/** Buffers that were one before a framer took them apart are one again without a copy. */

/** @returns a view where all follow each other in memory, else a copy */
export function joined(parts: readonly Buffer[]): Buffer {
  const [first] = parts
  if (first === undefined) return Buffer.alloc(0)
  if (parts.length === 1) return first
  let end = first.byteOffset
  for (const { buffer, byteOffset, length } of parts) {
    if (buffer !== first.buffer || byteOffset !== end) return Buffer.concat(parts)
    end += length
  }
  return Buffer.from(first.buffer, first.byteOffset, end - first.byteOffset)
}
