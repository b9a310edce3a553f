/** No log line of any test may show a secret that the test used (daemon.md §6): called when a lab's gateway stops. */
import assert from 'node:assert/strict'

/** @param secrets longer than a few characters: short ones are in every log */
export function assertNoSecrets(log: string, secrets: readonly string[]): void {
  for (const secret of secrets) {
    const forms = [secret, Buffer.from(secret).toString('base64').replace(/=+$/, ''), encodeURIComponent(secret)]
    for (const form of forms) assert.ok(!log.includes(form), `the log shows a secret: ${form}`)
  }
}
