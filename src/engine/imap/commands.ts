/**
 * What becomes of each client command after login (docs/imap-extensions.md): passed, carried out by us, or refused. An
 * unknown command passes unless it carries a literal: that might be a message.
 */
import { GatewayError } from '../../base/errors.ts'
import { appendLiteral } from './append.ts'
import type { ClientCommand } from './command-reader.ts'
import type { Literal } from './literal.ts'

/** Commands whose literals are names, search keys and the like. */
const TEXT_LITERALS: ReadonlySet<string> = new Set([
  'SELECT',
  'EXAMINE',
  'CREATE',
  'DELETE',
  'RENAME',
  'SUBSCRIBE',
  'UNSUBSCRIBE',
  'LIST',
  'LSUB',
  'STATUS',
  'COPY',
  'UID COPY',
  'MOVE',
  'UID MOVE',
  'SEARCH',
  'UID SEARCH',
  'FETCH',
  'UID FETCH',
  'STORE',
  'UID STORE',
  'ID',
  'GETACL',
  'SETACL',
  'DELETEACL',
  'LISTRIGHTS',
  'MYRIGHTS',
  'GETQUOTA',
  'GETQUOTAROOT',
  'SETQUOTA',
  'GETMETADATA',
  'SETMETADATA',
  'LANGUAGE',
])

/** Refused, with the reason for docs and reply. */
const REFUSED: Readonly<Record<string, string>> = {
  STARTTLS: 'not after login',
  AUTHENTICATE: 'already logged in',
  LOGIN: 'already logged in',
  UNAUTHENTICATE: 'the session belongs to one user',
  COMPRESS: 'not through this proxy',
  REPLACE: 'not through this proxy, use APPEND',
  'UID REPLACE': 'not through this proxy, use APPEND',
  NOTIFY: 'not through this proxy',
  SORT: 'the server cannot sort by encrypted headers',
  'UID SORT': 'the server cannot sort by encrypted headers',
  THREAD: 'the server cannot thread by encrypted headers',
  'UID THREAD': 'the server cannot thread by encrypted headers',
  ESEARCH: 'not through this proxy',
  GENURLAUTH: 'keys are not shared with third parties',
  URLFETCH: 'the server has only ciphertext',
  RESETKEY: 'not through this proxy',
  CONVERT: 'the server has only ciphertext',
  'UID CONVERT': 'the server has only ciphertext',
  CONVERSIONS: 'the server has only ciphertext',
  UIDBATCHES: 'not through this proxy',
}

/** Why this command is not taken; null = it is. */
export function refusal(name: string): GatewayError | null {
  const reason = REFUSED[name]
  return reason === undefined ? null : new GatewayError('SYNTAX', { text: reason })
}

/** What a literal after login is for. @throws {GatewayError} to refuse the command that carries it */
export function literalAfterLogin(command: ClientCommand, literal: Literal, messages: number): 'text' | 'message' {
  if (command.name === 'APPEND') return appendLiteral(command, literal, messages)
  const refused = refusal(command.name)
  if (refused !== null) throw refused
  if (TEXT_LITERALS.has(command.name)) return 'text'
  throw new GatewayError('SYNTAX', { text: 'unknown command with a literal' })
}
