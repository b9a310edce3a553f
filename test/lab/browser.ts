/** Debian's Chromium for a test file, driven by Playwright: started once, with a profile of its own, closed after its tests. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { type BrowserContext, type BrowserContextOptions, chromium } from 'playwright-core'

const CHROMIUM = '/usr/bin/chromium'
/** The lab has root alone, no GPU, and nothing to say to anyone outside. */
const ARGUMENTS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage'],
]

/** A visitor with nothing in their browser yet; the lab's certificate is its own. */
export async function labBrowser(options: BrowserContextOptions = {}): Promise<BrowserContext> {
  const profile = mkdtempSync(join(tmpdir(), 'vm-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    args: ARGUMENTS,
    ignoreHTTPSErrors: true,
    acceptDownloads: true,
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    viewport: { width: 900, height: 900 },
    ...options,
  })
  context.setDefaultTimeout(20_000)
  after(async () => {
    await context.close()
    rmSync(profile, { recursive: true, force: true, maxRetries: 3 })
  })
  return context
}
