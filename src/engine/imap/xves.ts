/** `XVES NOOP`, `XVES CALC [0|1]`, `XVES ORDER [0|1]` (imap.md §5): switches of a session, by its client. */
import { GatewayError } from '../../base/errors.ts'
import type { ClientCommand } from './command-reader.ts'
import type { WorkHost } from './work.ts'

/** Carries the command out. @returns lines of the answer @throws {GatewayError} SYNTAX */
export function xvesReplies(
  { tag, text, argsAt }: ClientCommand,
  host: Pick<WorkHost, 'exactSizes' | 'keepOrder'>,
): string[] {
  const words = text.toString('latin1', argsAt).trim().toUpperCase().split(/ +/)
  const [name, value] = words
  if (words.length > 2 || (value !== undefined && value !== '0' && value !== '1')) throw new GatewayError('SYNTAX')
  const done = `${tag} OK XVES ${name} completed`
  switch (name) {
    case 'CALC':
      if (value !== undefined) host.exactSizes = value === '1'
      return [`* XVES CALC ${host.exactSizes ? 1 : 0}`, done]
    case 'ORDER':
      if (value !== undefined) host.keepOrder = value === '1'
      return [`* XVES ORDER ${host.keepOrder ? 1 : 0}`, done]
    case 'NOOP':
      if (value === undefined) return [done]
      throw new GatewayError('SYNTAX')
    default:
      throw new GatewayError('SYNTAX')
  }
}
