/** Exit codes of the command line (daemon.md §2), and what a failure says on stderr. */
import { CommanderError } from 'commander'
import { asGatewayError, type FaultCode, GatewayError } from '../base/errors.ts'

export const EXIT = { ok: 0, usage: 64, io: 65, ves: 66, config: 67, internal: 80 } as const

/** Failures that are the input's or the system's, not the key repository's. */
const IO_CODES: ReadonlySet<FaultCode> = new Set<FaultCode>(['IO', 'BUFFER_EXCEEDED', 'MIME_HEADER_TOO_LARGE'])

export class UsageError extends Error {}

export function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof UsageError) return EXIT.usage
  // Help and version are "errors" of commander's, with exit code 0.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage
  if (thrown instanceof GatewayError) {
    if (thrown.code === 'CONFIG_INVALID') return EXIT.config
    if (IO_CODES.has(thrown.code)) return EXIT.io
    return thrown.fault.blame === 'us' ? EXIT.internal : EXIT.ves
  }
  return isSystemError(thrown) ? EXIT.io : EXIT.internal
}

/** One line for people: the stable text, then what is known beyond it. Never a secret: details hold none. */
export function describeFailure(thrown: unknown): string {
  if (thrown instanceof UsageError) return thrown.message
  if (isSystemError(thrown)) return `XVES-4 I/O error: ${thrown.message}`
  const error = asGatewayError(thrown)
  const known = Object.entries(error.detail)
    .filter(([name, value]) => name !== 'text' && value !== null)
    .map(([name, value]) => `${name}: ${value}`)
  const cause = error.code === 'INTERNAL' && error.cause instanceof Error ? [String(error.cause.stack)] : []
  return [error.wireText, known.length > 0 ? `(${known.join(', ')})` : '', ...cause].filter(Boolean).join(' ')
}

function isSystemError(thrown: unknown): thrown is NodeJS.ErrnoException {
  return thrown instanceof Error && 'syscall' in thrown && 'code' in thrown
}
