/** The object stores that copies of mail are spooled in: each once, however many daemons use it. */
import type { ConfigFile } from '../../base/config/config-file.ts'
import { daemonConfig } from '../../base/config/merge.ts'
import type { Config } from '../../base/config/options.ts'
import { layersOf, reasonOf, whereSet } from '../../base/config/places.ts'
import { type Log, silentLog } from '../../base/log.ts'
import { S3Spool } from '../../net/now/spool-s3.ts'
import { spoolOf } from '../../workers/spools.ts'
import type { Report } from './report.ts'

export async function checkBuckets(file: ConfigFile, report: Report): Promise<void> {
  const checked = new Set<string>()
  for (const entry of file.daemons) {
    const config = daemonConfig(file, entry)
    const bucket = config['now.s3.bucket']
    const place = JSON.stringify(Object.entries(config).filter(([key]) => key.startsWith('now.s3.')))
    if (bucket === null || checked.has(place)) continue
    checked.add(place)
    await checkBucket(whereSet('now.s3.bucket', layersOf(file, entry)), config, report)
  }
}

/** @param where the line that names the bucket */
async function checkBucket(where: string, config: Config, report: Report): Promise<void> {
  const name = `${where}: spool bucket ${config['now.s3.bucket']}`
  try {
    const warn: Log = {
      ...silentLog,
      write: (_, __, fields) => report.tell('warn', `${fields?.key}: ${fields?.reason}`),
    }
    const spool = spoolOf(config, warn)
    if (!(spool instanceof S3Spool)) return
    try {
      await spool.probe()
      report.tell('ok', `${name}: put, get, list and delete work`)
    } finally {
      await spool.close()
    }
  } catch (error) {
    report.tell('FAIL', `${name}: ${reasonOf(error)}`)
  }
}
