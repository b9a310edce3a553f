/** Does the key repository answer, with the authorities that the gateway would use? */
import { readFileSync } from 'node:fs'
import { Agent, request } from 'undici'
import type { ConfigFile } from '../../base/config/config-file.ts'
import { isSet, programConfig } from '../../base/config/merge.ts'
import { layersOf, whereSet } from '../../base/config/places.ts'
import { certificatesIn } from '../../net/certificate-file.ts'
import { apiUrl, repositoryUrl } from '../../workers/compose.ts'
import { adviceOn, codeOf } from './reach.ts'
import type { Report } from './report.ts'

const MAX_ANSWER_CHARACTERS = 1024 * 1024

export async function checkRepository(file: ConfigFile, report: Report, timeoutMs: number): Promise<void> {
  const config = programConfig(file)
  const layers = layersOf(file, null)
  const ca = config['ves.caBundle']
  const caWhere = whereSet('ves.caBundle', layers)
  if (ca !== null && report.attempt(caWhere, () => certificatesIn(ca)) === null) return
  const api = repositoryUrl(file)
  // The embedded one runs only while the gateway does.
  const isEmbedded = config['repository.listen'] !== null && !isSet('ves.api', file.all)
  const name = `${whereSet(isEmbedded ? 'repository.listen' : 'ves.api', layers)}: key repository ${api}`
  if (report.attempt(name, () => apiUrl(api)) === null) return
  try {
    report.tell('ok', `${name}: answers (${await ask(api, ca, timeoutMs)})`)
  } catch (error) {
    const reason = adviceOn(codeOf(error), { address: 'ves.api', ca: 'ves.caBundle' })
    if (isEmbedded) report.tell('warn', `${name}: not running (it starts with the gateway): ${codeOf(error)}`)
    else report.tell('FAIL', `${name}: ${reason}`)
  }
}

/** Anybody may ask for what does not exist; any whole JSON answer shows that a repository is there. @returns its status */
async function ask(api: string, ca: string | null, timeoutMs: number): Promise<number> {
  const connect = { timeout: timeoutMs, ...(ca === null ? {} : { ca: readFileSync(ca, 'utf8') }) }
  const dispatcher = new Agent({ connect, headersTimeout: timeoutMs, bodyTimeout: timeoutMs })
  try {
    const url = new URL('users/0', api.endsWith('/') ? api : `${api}/`)
    const { statusCode, headers, body } = await request(url, { dispatcher, signal: AbortSignal.timeout(2 * timeoutMs) })
    if (statusCode >= 300 && statusCode < 400) {
      await body.dump()
      throw new Error(`it sends elsewhere (${statusCode}, ${String(headers.location).slice(0, 200)}): correct ves.api`)
    }
    let text = ''
    for await (const piece of body.setEncoding('utf8')) text = (text + piece).slice(0, MAX_ANSWER_CHARACTERS)
    if (!isJson(text)) throw new Error(`it answers ${statusCode}, but not as a key repository does: correct ves.api`)
    return statusCode
  } finally {
    await dispatcher.destroy()
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}
