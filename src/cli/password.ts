/** Secrets for the command line: from a file, from standard input, from the VESkey directory; never by the environment. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import { ROUNDS_FOR_PASSWORDS } from '../engine/seal/vault-key-pbes2.ts'
import { UsageError } from './exit.ts'

const MAX_OCTETS = 4096
const DEFAULT_VESKEY_DIR = '/etc/vesmail/veskeys/'
/** 24 characters are beyond guessing even where someone made them up; then PBKDF2's rounds matter no more. */
const LONG_PASSWORD_CHARACTERS = 24

/** All of standard input, one final line end taken off. */
export async function readPassword(stdin: AsyncIterable<Buffer | string>): Promise<Secret<Buffer>> {
  const password = withoutLineEnd(await readAll(stdin))
  if (password.length === 0) throw new UsageError('no password on standard input')
  return new Secret(password)
}

/** Exactly so many lines of standard input, e.g. the old password and the new one. */
export async function readPasswords(
  stdin: AsyncIterable<Buffer | string>,
  names: readonly string[],
): Promise<Secret<Buffer>[]> {
  if (names.length === 1) return [await readPassword(stdin)]
  const lines = withoutLineEnd(await readAll(stdin))
    .toString('latin1')
    .split(/\r?\n/)
  if (lines.length !== names.length || lines.includes('')) {
    throw new UsageError(`expected on standard input, a line each: ${names.join(', ')}`)
  }
  return lines.map((line) => new Secret(Buffer.from(line, 'latin1')))
}

/** An administrator's token; complains of a file that others can read. */
export function readTokenFile(file: string): Secret<string> {
  const token = readFileSync(file, 'utf8').trim()
  if ((statSync(file).mode & 0o077) !== 0) process.stderr.write(`vesmail: warning: ${file} can be read by others\n`)
  if (!/^[\x21-\x7e]{1,200}$/.test(token)) throw new GatewayError('CONFIG_INVALID', { text: `no token in ${file}` })
  return new Secret(token)
}

/** The VESkey of an account from `veskey-dir` (daemon.md §1): the account's name is the file's. */
export function readVeskeyFile(account: string, directory: string = DEFAULT_VESKEY_DIR): Secret<Buffer> {
  if (account.includes('/') || account.startsWith('.')) {
    throw new UsageError(`no VESkey file for an account name like ${account}; give the VESkey with -u`)
  }
  return new Secret(withoutLineEnd(readFileSync(join(directory, account))))
}

/** Rounds of PBKDF2 for a password that somebody gave; null = the default, for what cannot be guessed. */
export function roundsFor(password: Secret<Buffer>): number | null {
  return password.expose().length < LONG_PASSWORD_CHARACTERS ? ROUNDS_FOR_PASSWORDS : null
}

async function readAll(stdin: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let octets = 0
  for await (const chunk of stdin) {
    chunks.push(Buffer.from(chunk))
    octets += chunk.length
    if (octets > MAX_OCTETS) throw new UsageError(`more than ${MAX_OCTETS} octets of passwords on standard input`)
  }
  return Buffer.concat(chunks)
}

function withoutLineEnd(octets: Buffer): Buffer {
  const end = octets.at(-1) === 0x0a ? octets.length - 1 : octets.length
  return octets.subarray(0, end > 0 && end < octets.length && octets[end - 1] === 0x0d ? end - 1 : end)
}
