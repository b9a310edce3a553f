/** The program that the guard starts as a worker. */
import { runWorker } from './worker.ts'

runWorker()
