/** The program that the guard's tests start: a guard over `line-worker.ts`. `argv`: configuration file, workers. */
import { fileURLToPath } from 'node:url'
import { Guard } from '../../src/guard/guard.ts'
import { COLLECTOR_FLAGS } from '../../src/workers/collector.ts'
import { openLog } from '../../src/workers/log.ts'

const [file = '', workers = '2'] = process.argv.slice(2)
const { log } = openLog({ file: null, level: 'info', format: 'json', fields: { pid: process.pid } })
const guard = new Guard({
  file,
  workers: Number(workers),
  workerFile: fileURLToPath(new URL('./line-worker.ts', import.meta.url)),
  workerFlags: COLLECTOR_FLAGS,
  log,
  env: process.env,
})
process.on('SIGHUP', () => guard.reload())
process.on('SIGINT', () => guard.stop(false))
process.on('SIGTERM', () => guard.stop(true))
await guard.start()
const { exitCode } = await guard.ended
process.exit(exitCode)
