/** Files of certificates in PEM form: what stands in them, or, for whoever made them, what is wrong. Judges nothing else. */

import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { messageOf } from '../base/errors.ts'

const PEM = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g

/** All certificates of a PEM file, in order; not empty. @throws Error that says what is wrong with the file */
export function certificatesIn(path: string): X509Certificate[] {
  const blocks = readPem(path).match(PEM) ?? []
  if (blocks.length === 0) throw new Error(`${path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)`)
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block)
    } catch (error) {
      throw new Error(`${path}: certificate ${i + 1} is damaged: ${messageOf(error)}`)
    }
  })
}

/** @throws Error that says what to do */
export function readPem(path: string): string {
  try {
    const stats = statSync(path)
    // Of a pipe or a device there may be no end.
    if (!stats.isFile() && !stats.isDirectory()) throw new Error('it is no file')
    return readFileSync(path, 'latin1')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? messageOf(error)
    const advice = code === 'ENOENT' ? 'correct the path, or put the file there' : 'look at its owner and mode'
    throw new Error(`${path} cannot be read (${code}): ${advice}`)
  }
}
