/**
 * A worker for the guard's tests: the real worker with a session that greets with its process id, answers each line
 * with itself, and says goodbye when it is drained.
 */
import type { Action, Event, Session } from '../../src/engine/session.ts'
import { runWorker } from '../../src/workers/worker.ts'

function lineSession(): Session {
  let rest = ''
  const say = (text: string): Action => ({ do: 'send', side: 'client', bytes: Buffer.from(`${text}\r\n`) })
  return {
    start: () => [say(`220 ${process.pid}`)],
    step: (event: Event): Action[] => {
      if (event.on === 'drain') return [say('421 bye'), { do: 'close', why: 'drained' }]
      if (event.on === 'closed') return [{ do: 'close', why: 'quit' }]
      if (event.on !== 'bytes') return []
      rest += event.bytes.toString('latin1')
      const lines = rest.split('\r\n')
      rest = lines.pop() ?? ''
      return lines.flatMap((line): Action[] => {
        if (line === 'HANG') for (;;);
        if (line === 'CRASH') process.nextTick(() => Promise.reject(new Error('a bug')))
        return line === 'QUIT' ? [say('221 bye'), { do: 'close', why: 'quit' }] : [say(`250 ${line}`)]
      })
    },
    wants: () => true,
  }
}

runWorker(lineSession)
