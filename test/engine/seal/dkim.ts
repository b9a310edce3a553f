/** rsa-sha256 DKIM signatures with `simple` canonicalization: to the octet (RFC 6376 §3.4, §5, §6.1). */
import { createHash, type KeyObject, sign, verify } from 'node:crypto'

const SIGNED = ['from', 'to', 'subject', 'message-id', 'content-type']

interface Taken {
  readonly headers: readonly string[]
  readonly bodyHash: string
}

function takeApart(message: Buffer): Taken {
  const text = message.toString('latin1')
  const end = text.indexOf('\r\n\r\n')
  const body = `${text.slice(end + 4).replace(/(\r\n)*$/, '')}\r\n`
  const bodyHash = createHash('sha256').update(body, 'latin1').digest('base64')
  return { headers: text.slice(0, end + 2).split(/(?<=\r\n)(?![ \t])/), bodyHash }
}

/** What the signature is over. @param signature the DKIM-Signature field, its `b=` empty */
function signedData(headers: readonly string[], names: readonly string[], signature: string): Buffer {
  const rest = [...headers]
  let data = ''
  for (const name of names) {
    const at = rest.findLastIndex((header) => header.toLowerCase().startsWith(`${name}:`))
    if (at >= 0) data += rest.splice(at, 1)[0]!
  }
  return Buffer.from(data + signature.replace(/\r\n$/, ''), 'latin1')
}

export function signDkim(text: string, privateKey: KeyObject): Buffer {
  const message = Buffer.from(text, 'latin1')
  const { headers, bodyHash } = takeApart(message)
  const unsigned = `DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.com; s=sel;\r\n h=${SIGNED.join(':')};\r\n bh=${bodyHash};\r\n b=`
  const value = sign('sha256', signedData(headers, SIGNED, unsigned), privateKey).toString('base64')
  return Buffer.concat([Buffer.from(`${unsigned}${value}\r\n`, 'latin1'), message])
}

export function verifyDkim(message: Buffer, publicKey: KeyObject): boolean {
  const { headers, bodyHash } = takeApart(message)
  const signature = headers.find((header) => /^dkim-signature:/i.test(header))
  if (signature === undefined) return false
  const tag = (name: string) => new RegExp(`[:;]\\s*${name}=([^;]*)`).exec(signature)![1]!.replace(/\s+/g, '')
  if (tag('c') !== 'simple/simple' || tag('a') !== 'rsa-sha256') throw new Error('not what this verifies')
  if (bodyHash !== tag('bh')) return false
  const data = signedData(headers, tag('h').toLowerCase().split(':'), signature.replace(/(\bb=)[^;]*$/, '$1'))
  return verify('sha256', data, publicKey, Buffer.from(tag('b'), 'base64'))
}
