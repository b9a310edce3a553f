/**
 * Inputs made to be slow: each at one size and at twice that, where linear code takes about twice the time. The rows'
 * value is that factor; a reader that looks back would show four.
 */
import { performance } from 'node:perf_hooks'
import { median, type Row } from '../rows.ts'
import { collected, newOpener, newSealer, passInPlace, reads } from './passage.ts'

const ROUNDS = 5

const HEAD = 'From: a@example.com\r\nMessage-ID: <h@example.com>\r\n'
const multipart = (boundary: string) => `${HEAD}Content-Type: multipart/mixed; boundary="${boundary}"\r\n\r\n`

/** `n`: the measure of the input. `isExact: false`: larger than what is examined whole, and laid out like nothing. */
const HOSTILE: Readonly<
  Record<string, { readonly n: number; readonly make: (n: number) => Buffer; readonly isExact?: false }>
> = {
  'beginnings-of-a-delimiter': {
    n: 500_000,
    make: (n) => Buffer.from(`${multipart('bb')}--bb\r\n\r\n${'--b\n'.repeat(n / 4)}`),
  },
  'line-of-boundary-letters': {
    n: 500_000,
    make: (n) => Buffer.from(`${multipart('bb')}--bb\r\n\r\n--b${'b'.repeat(n)}`),
  },
  delimiters: { n: 50_000, make: (n) => Buffer.from(multipart('b') + '--b\r\n'.repeat(n)) },
  'empty-parts': { n: 50_000, make: (n) => Buffer.from(multipart('b') + '--b\r\n\r\n'.repeat(n)) },
  headers: { n: 50_000, make: (n) => Buffer.from(`${HEAD}${'X-H: 1\r\n'.repeat(n)}\r\nbody`) },
  levels: {
    n: 5_000,
    make: (n) =>
      Buffer.from(
        `${HEAD}Content-Type: multipart/mixed; boundary=b0-\r\n\r\n${Array.from(
          { length: n },
          (_, i) => `--b${i}-\r\nContent-Type: multipart/mixed; boundary=b${i + 1}-\r\n\r\n`,
        ).join('')}`,
      ),
  },
  'long-line': {
    n: 25_000_000,
    make: (n) => Buffer.concat([Buffer.from(`${multipart('b')}--b\r\n\r\n`), Buffer.alloc(n, 'x')]),
  },
  'base64-without-lines': {
    n: 8_000_000,
    isExact: false,
    make: (n) => Buffer.from(`${HEAD}Content-Transfer-Encoding: base64\r\n\r\n${'Q=='.repeat(n / 3)}`),
  },
  'equals-signs': {
    n: 4_000_000,
    isExact: false,
    make: (n) => Buffer.from(`${HEAD}Content-Transfer-Encoding: quoted-printable\r\n\r\n${'= '.repeat(n / 2)}`),
  },
  'equals-and-blanks': {
    n: 4_000_000,
    isExact: false,
    make: (n) => Buffer.from(`${HEAD}Content-Transfer-Encoding: quoted-printable\r\n\r\n=${' '.repeat(n)}`),
  },
}

export function hostileRows(): Row[] {
  return Object.entries(HOSTILE).map(([name, { n, make, isExact }]) => {
    const [once, twice] = [make(n), make(2 * n)]
    const runs = [once, twice].map((message) => {
      const sealed = collected((sink) => passInPlace(newSealer(), reads(message), sink))
      const opened = collected((sink) => passInPlace(newOpener(), reads(sealed), sink))
      if (isExact !== false && !opened.equals(message))
        throw new Error(`${name}: what was opened is not what was sealed`)
      return () => {
        passInPlace(newSealer(), reads(message), () => {})
        passInPlace(newOpener(), reads(sealed), () => {})
      }
    })
    const times: number[][] = runs.map(() => [])
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, run] of runs.entries()) {
        const begin = performance.now()
        run()
        times[i]!.push(performance.now() - begin)
      }
    }
    const [onceMs, twiceMs] = times.map(median)
    const speed = ((twice.length / twiceMs!) * 1000) / 1e6
    const note = `time for twice the input: linear is 2; ${twice.length} octets, ${speed.toFixed(1)} MB/s sealed and opened`
    return { bench: 'engine', name: `hostile-${name}`, value: twiceMs! / onceMs!, unit: '×', note }
  })
}
