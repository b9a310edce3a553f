/** The program that the guard starts as a worker. */
import { setFlagsFromString } from 'node:v8'
import { runWorker } from './worker.ts'

// V8 collects the whole heap whenever 64 MiB of buffers came up since the last time: at 100 MB/s of mail ten times a
// second, a third of all our processor time. So it counts them toward the heap's own limit, which grows with what lives.
setFlagsFromString('--external-memory-accounted-in-global-limit')

runWorker()
