/**
 * The garbage collector of a process that carries mail. V8 starts a whole collection each time 64 MiB of buffers were
 * made, however small and short-lived the rest is: with large mail that was half of a worker's processor time. With
 * this, buffers count as a part of the heap and its limit grows with what lives, as for other objects; short-lived
 * ones go with the collections of the young generation, which therefore must not wait for long: it grows to 32 MiB by
 * itself, and each object of a few octets there may hold a buffer of 64 KiB.
 *
 * V8 then lets a heap with little besides buffers grow by a few MiB only: three whole collections were seen for each
 * mail of 10 MB, each through 24 MB of code and objects, which was half of the worker's processor time. So it is told
 * how far the heap may grow.
 */
import { setFlagsFromString } from 'node:v8'

/** For the command line: the young generation has its size from the start, and cannot be made smaller later. */
export const COLLECTOR_FLAGS: readonly string[] = ['--max-semi-space-size=1']

/**
 * Per cent. A worker through which mail of 10 MB passes, one or fifty at a time: 68 and 43 ms each without, 40 and 33
 * with it, for 227 and 726 MiB, 293 and 813 with it; with 250 per cent 36 and 32 ms, 306 and 1008 MiB.
 */
const GROWTH = 170

/** Takes effect at once, for the process's threads too. */
export function tuneCollector(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit')
  setFlagsFromString(`--heap-growing-percent=${GROWTH}`)
}

/**
 * The same as {@link COLLECTOR_FLAGS} for a process that was not started by us: the young generation stays as large as it
 * is. So it must come before the program is loaded, which alone makes it grow to its full 32 MiB.
 */
export function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
}
