/** The oracle on messages whose line ends a server gives back otherwise: every question, each way to tell sizes. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { runGateway } from '../../scripts/oracle/gateway-run.ts'
import { expandFiles, OWN_MESSAGES } from '../../scripts/oracle/messages.ts'
import { startServers } from '../../scripts/oracle/own-servers.ts'
import { Report } from '../../scripts/oracle/report.ts'

const NAMES = ['bare-cr.eml', 'odd-line-ends.eml', 'odd-text.eml']

describe('the oracle', () => {
  it('takes the messages written for it', async () => {
    const files = await expandFiles([OWN_MESSAGES])
    assert.ok(files.length > 20 && files.every((file) => file.endsWith('.eml')), files.join(' '))
  })

  it('holds for odd line ends', async () => {
    const servers = await startServers('auto', false)
    try {
      const report = new Report(0)
      const files = NAMES.map((name) => join(OWN_MESSAGES, name))
      const traffic = await runGateway({ ...servers, sizes: 'auto' }, files, report)
      assert.deepEqual(report.differences, [])
      assert.ok(report.holds && report.questions > 1000, `${report.questions} questions`)
      assert.ok(traffic.gatewayOctets > 0 && servers.relay.octetsDown > traffic.gatewayOctets)
    } finally {
      await servers.stop()
    }
  })
})
