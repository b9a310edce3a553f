/** By what name a peer is counted: IPv4 by address, IPv6 by /64, which is what one customer gets. */

/**
 * @param address as the server has it, IPv6 in full or short form
 * @returns `192.0.2.1`, `::1`, `2001:db8:0:1::/64`; what is no address, as it is
 */
export function peerName(address: string): string {
  if (!address.includes(':')) return address
  const groups = expanded(address)
  if (groups === null) return address
  const [a, b] = groups.slice(6) as [number, number]
  const leading = groups.slice(0, 5).every((group) => group === 0)
  // An IPv4 peer of a listener for both.
  if (leading && groups[5] === 0xffff) return `${a >> 8}.${a & 255}.${b >> 8}.${b & 255}`
  if (leading && groups[5] === 0 && a === 0 && b === 1) return '::1'
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`
}

function expanded(address: string): number[] | null {
  const dotted = /^(.*:)(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(address.replace(/%.*$/, ''))
  let text = address.replace(/%.*$/, '')
  if (dotted !== null) {
    const [a, b, c, d] = dotted.slice(2).map(Number) as [number, number, number, number]
    text = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  }
  const halves = text.split('::')
  if (halves.length > 2) return null
  const [left, right] = halves.map((half) => (half === '' ? [] : half.split(':'))) as [string[], string[] | undefined]
  const zeros = right === undefined ? 0 : 8 - left.length - right.length
  if (zeros < 0) return null
  const groups = [...left, ...Array<string>(zeros).fill('0'), ...(right ?? [])]
  if (groups.length !== 8 || !groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return null
  return groups.map((group) => Number.parseInt(group, 16))
}

/**
 * The peer of a request: behind a proxy on an uncounted address, whom that proxy names last in X-Forwarded-For. Whoever
 * comes from elsewhere may write there what they like.
 */
export function peerOf(address: string, forwarded: string | undefined, trusted: readonly string[]): string {
  const name = peerName(address)
  const last = forwarded?.split(',').at(-1)?.trim() ?? ''
  return trusted.includes(name) && last !== '' ? peerName(last.slice(0, 64)) : name
}
