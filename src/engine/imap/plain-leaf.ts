/** A leaf that was not sealed: it passes as it is, where one that was would be opened. */
import { GatewayError } from '../../base/errors.ts'
import type { Transform, TransformAction } from '../transform.ts'

export class PlainLeaf implements Transform {
  readonly wants = true

  push(bytes: Buffer): TransformAction[] {
    return [{ do: 'write', bytes }]
  }

  end(): TransformAction[] {
    return [{ do: 'done' }]
  }

  answer(): never {
    throw new GatewayError('INTERNAL', { reason: 'no question' })
  }
}
