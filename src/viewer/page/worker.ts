/** The Web Worker: hands what the page asks to the reader, one thing at a time. */
import { GatewayError } from '../../base/errors.ts'
import { Reader, ViewerError } from '../reader.ts'
import type { Ask, Told } from './protocol.ts'

let reader: Reader | null = null
const tell = (told: Told): void => self.postMessage(told)

self.addEventListener('message', ({ data }: MessageEvent<Ask>) => {
  answer(data).catch((error: unknown) => tell({ on: 'failed', failure: failureOf(error), detail: detailOf(error) }))
})

async function answer(ask: Ask): Promise<void> {
  if (ask.do === 'start') {
    const progress = (octets: number, total: number | null): void => tell({ on: 'progress', octets, total })
    reader = new Reader({ base: new URL(ask.base), config: ask.config, progress })
    return
  }
  if (reader === null) throw new Error('not started')
  switch (ask.do) {
    case 'open':
      return tell({ on: 'opened', mail: await reader.open(ask.messageId, ask.email, ask.veskey) })
    case 'ask-for-link':
      await reader.askForLink(ask.email)
      return tell({ on: 'link-sent' })
    case 'set-up':
      return tell({ on: 'set-up', ...(await reader.setUp(ask.email, ask.token)) })
  }
}

function failureOf(error: unknown) {
  return error instanceof ViewerError ? error.failure : 'failed'
}

function detailOf(error: unknown): string {
  const cause = error instanceof ViewerError && error.cause !== undefined ? error.cause : error
  if (cause instanceof GatewayError)
    return [cause.code, cause.detail.status, cause.detail.what].filter(Boolean).join(' ')
  return cause instanceof Error ? `${cause.name}: ${cause.message}` : ''
}
