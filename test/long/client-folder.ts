/**
 * What a client of the long test is given, and its folder: files for it, messages that it left there. Not a client.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A program that takes longer hangs. */
export const PATIENCE_MS = 240_000

export interface Access {
  readonly port: number
  readonly user: string
  readonly password: string
  /** Empty, the client's own. */
  readonly folder: string
  /** Messages in the mailbox. */
  readonly messages: number
}

export type MailClient = (access: Access) => Promise<string[]>

export function write(folder: string, name: string, text: string, mode = 0o600): string {
  const file = join(folder, name)
  writeFileSync(file, text, { mode })
  return file
}

export function maildir(folder: string): string[] {
  return ['new', 'cur'].flatMap((each) => files(join(folder, each)))
}

export function files(folder: string): string[] {
  return readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'))
}

/** The messages of an mbox file without the lines between them; what a client adds to those tells its own time. */
export function mbox(file: string): string[] {
  return readFileSync(file, 'latin1')
    .split(/^(?=From \S+ +\w{3} \w{3} +\d+ [\d:]+ \d{4})/m)
    .map((message) => message.replace(/^From .*\n/, ''))
}
