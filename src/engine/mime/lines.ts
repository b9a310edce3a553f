/** LF octets: what IMAP servers count as lines of a part. Linear; about a nanosecond an octet. */
export function countLines(bytes: Buffer): number {
  let lines = 0
  for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) lines++
  return lines
}
