/**
 * Any other command that carries literals, at a server that takes them one by one (no LITERAL+): the connection is the
 * command's until it is answered, so that each `+` is known to be its own. It goes up under the client's own tag.
 */
import { GatewayError } from '../../base/errors.ts'
import type { ClientCommand } from './command-reader.ts'
import { segmentsOf } from './outgoing.ts'
import type { Work, WorkHost } from './work.ts'

export class LiteralWork implements Work {
  readonly passing = true
  readonly wantsUpstream = true
  readonly #host: WorkHost
  readonly #tag: string
  readonly #segments: Buffer[]
  readonly #answered: (ok: boolean, line: Buffer) => void

  /** @param answered gives the tagged line to the client */
  constructor(host: WorkHost, command: ClientCommand, answered: (ok: boolean, line: Buffer) => void) {
    this.#host = host
    this.#tag = command.tag
    this.#segments = segmentsOf(command.text, command.literals, false)
    this.#answered = answered
  }

  start(): void {
    this.continuation()
  }

  continuation(): void {
    const segment = this.#segments.shift()
    if (segment === undefined) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'continuation' })
    this.#host.toUpstream(segment)
  }

  /** Also before all segments are sent: the server has refused the command. */
  tagged(tag: string, ok: boolean, line: Buffer): void {
    if (tag !== this.#tag) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'tag' })
    this.#answered(ok, line)
    this.#host.finished()
  }

  literalSink(): null {
    return null
  }

  fetch(): boolean {
    return false
  }

  expunged(): void {}
  vanished(): void {}
  dispose(): void {}
}
