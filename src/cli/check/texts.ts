/** What a configuration gives to be shown: banners, manifests, headers. The daemon goes on without what is wrong there. */
import type { Config, OptionName } from '../../base/config/options.ts'
import { type Layer, whereSet } from '../../base/config/places.ts'
import { type Log, silentLog } from '../../base/log.ts'
import { parseHeaderLine } from '../../net/now/answers.ts'
import { loadBanners } from '../../workers/banners.ts'
import { manifestOf } from '../../workers/now-site.ts'

/** @returns for each thing that is wrong the line that says it, and what */
export function textFindings(config: Config, layers: readonly Layer[]): string[] {
  const found: string[] = []
  const tell = (option: OptionName, what: string): void => {
    found.push(`${whereSet(option, layers)}: ${what}`)
  }
  const told = (write: Log['write']): Log => ({ ...silentLog, write })
  loadBanners(
    config,
    told((_, event, fields) =>
      tell(event === 'manifest' ? 'manifest' : 'banner', `${fields?.file}: ${fields?.reason}`),
    ),
  )
  const manifest = config['now.manifest']
  manifestOf(
    manifest,
    told((_, __, fields) => tell('now.manifest', `${fields?.reason}: name a file of JSON, or give the JSON itself`)),
  )
  for (const line of config['now.headers'] ?? []) {
    if (parseHeaderLine(line) === null) tell('now.headers', `${JSON.stringify(line)} is not "Name: value"`)
  }
  return found
}
