/** Carries a transform over octets that are all at hand: its questions out, its result in one piece. */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Asking } from '../asking.ts'
import type { SealedSizes } from '../seal/exactness.ts'
import type { TransformAction } from '../transform.ts'
import type { OutlineTransform } from './transforms.ts'

export interface OpenedFacts {
  readonly octets: Buffer
  readonly declared: SealedSizes | null
}

/** `done` is called once; also where the octets cannot be opened. */
export function runTransform(
  transform: OutlineTransform,
  octets: Buffer,
  out: Asking,
  done: (result: OpenedFacts | GatewayError) => void,
): void {
  const written: Buffer[] = []
  let over = false
  const fail = (error: GatewayError): void => {
    if (!over) done(error)
    over = true
  }
  const run = (step: () => TransformAction[]): void => {
    try {
      for (const action of over ? [] : step()) perform(action)
    } catch (error) {
      fail(asGatewayError(error))
    }
  }
  const perform = (action: TransformAction): void => {
    if (action.do === 'write') written.push(action.bytes)
    else if (action.do === 'done') {
      over = true
      done({ octets: Buffer.concat(written), declared: transform.facts.declaredSizes })
    } else if (action.kind === 'open-key') {
      out.ask('open-key', action.ask, (answer) => run(() => transform.answer(action.id, answer)), fail)
    } else throw new GatewayError('INTERNAL', { question: action.kind })
  }
  run(() => transform.push(octets))
  run(() => transform.end())
}
