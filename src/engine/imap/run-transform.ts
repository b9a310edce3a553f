/** Carries a transform over octets that are all at hand: its questions out, its result in one piece. */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Asking } from '../asking.ts'
import type { Transform, TransformAction } from '../transform.ts'

/** `done` is called once; also where the octets cannot be opened. */
export function runTransform(
  transform: Transform,
  octets: Buffer,
  out: Asking,
  done: (result: Buffer | GatewayError) => void,
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
      done(Buffer.concat(written))
    } else if (action.kind === 'open-key') {
      out.ask('open-key', action.ask, (answer) => run(() => transform.answer(action.id, answer)), fail)
    } else if (action.kind === 'batch') {
      out.ask('batch', action.ask, (answer) => run(() => transform.answer(action.id, answer)), fail)
    } else throw new GatewayError('INTERNAL', { question: action.kind })
  }
  run(() => transform.push(octets))
  run(() => transform.end())
}
