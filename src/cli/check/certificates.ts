/** The certificates of listeners and hosts: each pair of files is judged once, however many name it. */
import type { ConfigFile, DaemonEntry } from '../../base/config/config-file.ts'
import { daemonConfig, programConfig } from '../../base/config/merge.ts'
import type { Config } from '../../base/config/options.ts'
import { layersOf, whereCertificate, whereDaemon, whereSet } from '../../base/config/places.ts'
import { type CertificateState, judgeCertificate } from '../../net/judge-certificate.ts'
import { stateDirectory } from '../../workers/compose.ts'
import { certificateOf } from '../../workers/listener.ts'
import { listenerName, type Report, type Series } from './report.ts'

/** Pairs remembered: hosts mostly share few, or have one each. */
const MAX_KNOWN = 1000

export class Certificates {
  readonly #nowMs: number
  readonly #known = new Map<string, CertificateState>()

  constructor(nowMs: number) {
    this.#nowMs = nowMs
  }

  /** @returns null where none is configured: one of our own is used */
  judge(config: Config): { readonly pair: string; readonly state: CertificateState } | null {
    if (config['tls.level'] === 'none' || (config['tls.cert'] === null && config['tls.pkey'] === null)) return null
    const files = certificateOf(config, noneOfOurOwn)
    const pair = `${files.cert}\0${files.pkey}`
    const known = this.#known.get(pair)
    if (known !== undefined) return { pair, state: known }
    const state = judgeCertificate(files, this.#nowMs)
    if (this.#known.size < MAX_KNOWN) this.#known.set(pair, state)
    return { pair, state }
  }
}

function noneOfOurOwn(): never {
  throw new Error('a pair is configured')
}

/**
 * What was found of a pair, with the lines that name its files.
 * @param file of which the lines should be: a host's certificate that does not fit the listener's key is the host's affair
 */
export function tellFindings(
  state: CertificateState,
  layers: ReturnType<typeof layersOf>,
  file: string,
  to: Report | Series,
): void {
  const where = (of: 'cert' | 'pkey'): string => whereCertificate(of, layers, file)
  for (const { of, text } of state.warnings) to.tell('warn', `${where(of)}: ${text}`)
  if (state.problem !== null) to.tell('FAIL', `${where(state.problem.of)}: ${state.problem.text}`)
  else {
    const until = new Date(state.expiresMs).toISOString().slice(0, 10)
    to.tell('ok', `${where('cert')}: certificate ${state.subject}, until ${until}`)
  }
}

export function checkCertificates(file: ConfigFile, certificates: Certificates, report: Report): void {
  const told = new Set<string>()
  for (const entry of file.daemons) {
    const config = daemonConfig(file, entry)
    const layers = layersOf(file, entry)
    if (config['tls.level'] === 'none') {
      report.tell(
        'warn',
        `${whereSet('tls.level', layers)}: ${listenerName(entry)} has no TLS; passwords travel in plaintext`,
      )
      continue
    }
    const judged = certificates.judge(config)
    if (judged === null) tellOwn(file, entry, report)
    else if (!told.has(judged.pair)) {
      told.add(judged.pair)
      tellFindings(judged.state, layers, file.file, report)
    }
  }
}

function tellOwn(file: ConfigFile, entry: DaemonEntry, report: Report): void {
  const directory = stateDirectory(programConfig(file))
  const where = whereDaemon(file, entry)
  report.tell('warn', `${where}: no tls.cert is configured; a self-signed certificate is made in ${directory}`)
}
