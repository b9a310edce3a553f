/**
 * The viewer for everybody: what Chromium tells a screen reader, the way of the focus, what is said when something fails,
 * the narrowest phone, contrast by light and in the dark.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { labViewer } from '../lab/viewer.ts'

const { site, gateway, newPage, send, logIn, onboardingLink } = await labViewer()
const bob = gateway.passwords.bob!

const CONTROLS = new Set([
  ...['button', 'link', 'textbox', 'checkbox', 'combobox', 'radio', 'slider', 'tab', 'menuitem', 'DisclosureTriangle'],
  ...['Iframe', 'progressbar', 'image', 'splitter'],
])

interface AccessNode {
  readonly role: string
  readonly name: string
  /** Of a live region. */
  readonly live: string | null
}

/** What the browser tells assistive programs of the page; its frames have trees of their own. */
async function accessTree(page: Page): Promise<AccessNode[]> {
  const session = await page.context().newCDPSession(page)
  const { nodes } = await session.send('Accessibility.getFullAXTree')
  await session.detach()
  return nodes
    .filter(({ ignored }) => !ignored)
    .map(({ role, name, properties }) => ({
      role: String(role?.value ?? ''),
      name: String(name?.value ?? '').trim(),
      live: String(properties?.find((one) => one.name === 'live')?.value.value ?? '') || null,
    }))
}

/** Every control has a name, and no two that do different things have the same. */
async function controlsOf(page: Page): Promise<string[]> {
  const controls = (await accessTree(page)).filter(({ role }) => CONTROLS.has(role))
  for (const { role, name } of controls) assert.notEqual(name, '', `a ${role} has no name`)
  return controls.map(({ role, name }) => `${role} ${name}`)
}

/** Names of what the Tab key comes to, from where the focus is to the end of the page. */
async function tabbed(page: Page, most: number): Promise<string[]> {
  const reached: string[] = []
  for (let n = 0; n < most; n++) {
    await page.keyboard.press('Tab')
    const name = await page.evaluate(() => {
      const at = document.activeElement as HTMLElement | null
      if (at === null || at === document.body) return null
      const label = (at as HTMLInputElement).labels?.[0]?.textContent
      return `${at.tagName} ${at.getAttribute('aria-label') ?? label ?? (at.title || at.textContent)}`
    })
    if (name === null) break
    reached.push(name)
  }
  return reached
}

/** Texts whose contrast with what is behind them is less than 4.5 (WCAG 2.2, 1.4.3), which controls that are off may have. */
function faint(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const channels = (color: string): number[] => (color.match(/[\d.]+/g) ?? []).map(Number)
    const luminance = (color: string): number => {
      const [r = 0, g = 0, b = 0] = channels(color).map((value) => {
        const share = value / 255
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
      })
      return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const ground = (element: Element | null): string => {
      for (let at = element; at !== null; at = at.parentElement) {
        const color = getComputedStyle(at).backgroundColor
        if ((channels(color)[3] ?? 1) === 1) return color
      }
      return 'rgb(255, 255, 255)'
    }
    const found: string[] = []
    for (const element of document.body.querySelectorAll('*')) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent?.trim() !== '')
      const isOff = (element as HTMLButtonElement).disabled === true
      if ((!own && element.tagName !== 'INPUT') || isOff || element.getClientRects().length === 0) continue
      const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))]
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
      if (ratio < 4.5) found.push(`${element.tagName} "${element.textContent?.slice(0, 40)}" ${ratio.toFixed(2)}`)
    }
    return found
  })
}

/** The same content on the narrowest phone, by light and in the dark. */
async function fitsAndIsLegible(page: Page): Promise<void> {
  await page.setViewportSize({ width: 360, height: 640 })
  const sticksOut = await page.evaluate(() =>
    [...document.querySelectorAll('*')]
      .filter((one) => one.getBoundingClientRect().right > 360.5)
      .map((one) => one.outerHTML.slice(0, 80)),
  )
  assert.deepEqual(sticksOut, [])
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 360))
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    assert.deepEqual(await faint(page), [], colorScheme)
  }
}

test('the way in: names, focus, and a failure that is said aloud', async () => {
  const page = await newPage()
  await page.goto(`${site}?msgid=none%40lab.test`)
  await page.getByRole('heading', { name: 'Encrypted message' }).waitFor()
  assert.deepEqual(await controlsOf(page), [
    'textbox Your e-mail address',
    'textbox Your VESkey',
    'checkbox Show it',
    'button Open the message',
    'textbox Your e-mail address',
    'button Send me the link',
  ])
  // The heading has the focus, so the way begins behind it.
  assert.deepEqual(await tabbed(page, 6), [
    'INPUT Your e-mail address',
    'INPUT Your VESkey',
    'INPUT Show it',
    'BUTTON Open the message',
    'INPUT Your e-mail address',
    'BUTTON Send me the link',
  ])
  assert.ok((await accessTree(page)).some(({ role, live }) => role === 'status' && live === 'polite'))
  await fitsAndIsLegible(page)
  const form = page.locator('form', { has: page.getByLabel('Your VESkey') })
  await form.getByLabel('Your e-mail address').fill('bob@lab.test')
  await form.getByLabel('Your VESkey').fill('wrong')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').waitFor()
  assert.ok((await accessTree(page)).some(({ role, live }) => role === 'alert' && live === 'assertive'))
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('role')), 'alert')
  await fitsAndIsLegible(page)
  await page.close()
})

test('a new vault: the two keys, and what copies which', async () => {
  const page = await newPage()
  await page.goto(site)
  await page.getByLabel('Your e-mail address').fill('dave@lab.test')
  await page.getByRole('button', { name: 'Send me the link' }).click()
  await page.getByText('a mail with a link is on its way').waitFor()
  await page.waitForFunction(() => /on its way/.test(document.activeElement?.textContent ?? ''))
  await page.goto(await onboardingLink('dave@lab.test'))
  await page.reload()
  await page.getByRole('button', { name: 'Set up my vault' }).click()
  await page.getByRole('heading', { name: 'Your vault is ready' }).waitFor()
  const controls = await controlsOf(page)
  assert.equal(new Set(controls).size, controls.length, `two controls have one name: ${controls.join(', ')}`)
  await fitsAndIsLegible(page)
  await page.close()
})

test('an opened message: all that is in it has a name, and nothing sticks out', async () => {
  const part = (type: string, body: string): string => `--b\r\nContent-Type: ${type}\r\n\r\n${body}\r\n`
  const file = `--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="NAME"\r\n\r\nx\r\n`
  await send(
    `From: "${'Alice with a very long name '.repeat(4)}" <alice@lab.test>\r\nTo: <bob@lab.test>\r\nSubject: ${'heron'.repeat(30)}\r\n` +
      'Message-ID: <access-1@lab.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n' +
      part('text/plain', `see https://example.test/${'path/'.repeat(40)}\r\n${'wide'.repeat(100)}`) +
      part(
        'text/html',
        '<img src="https://example.test/i.png" alt="i"><table width="2000"><tr><td>wide</td></tr></table>',
      ) +
      part('message/rfc822', 'Subject: Within\r\n\r\ninner') +
      file.replace('NAME', 'one.bin') +
      file.replace('NAME', `${'long'.repeat(30)}.bin`) +
      '--b--\r\n',
  )
  const page = await logIn('access-1@lab.test', 'bob@lab.test', bob)
  await page.frameLocator('iframe').frameLocator('iframe').getByText('wide').waitFor()
  const controls = await controlsOf(page)
  assert.equal(new Set(controls).size, controls.length, `two controls have one name: ${controls.join(', ')}`)
  assert.match(controls.join('\n'), /Iframe Text of the message/)
  const way = (await tabbed(page, 12)).map((one) => one.slice(0, 40))
  const places = [
    'A https://example',
    'BUTTON Show images',
    'IFRAME Text of',
    'DIV Height of',
    'SUMMARY Forwarded',
    'BUTTON Save Within',
  ]
  const found = places.map((start) => way.findIndex((one) => one.startsWith(start)))
  assert.ok(
    found.every((at, n) => at >= 0 && (n === 0 || at > found[n - 1]!)),
    way.join('\n'),
  )
  await fitsAndIsLegible(page)
  await page.close()
})

test('the text of a message is as high as its reader wants it: by mouse, by touch, by keyboard', async () => {
  const head = 'From: <alice@lab.test>\r\nTo: <bob@lab.test>\r\nSubject: High\r\nMessage-ID: <access-2@lab.test>\r\n'
  await send(`${head}Content-Type: text/html\r\n\r\n${'<p>line</p>'.repeat(200)}`)
  const page = await logIn('access-2@lab.test', 'bob@lab.test', bob)
  const frame = page.locator('.frame')
  const handle = page.getByRole('separator', { name: 'Height of the text' })
  const height = async (): Promise<number> => (await frame.boundingBox())!.height
  await handle.scrollIntoViewIfNeeded()
  const [before, place] = [await height(), (await handle.boundingBox())!]
  const x = place.x + place.width / 2
  await page.mouse.move(x, place.y + 10)
  await page.mouse.down()
  // First up, over the mail's frame, which must not swallow it.
  await page.mouse.move(x, place.y - 90, { steps: 5 })
  const less = await height()
  await page.mouse.move(x, place.y + 60, { steps: 5 })
  await page.mouse.up()
  const more = await height()
  await page.mouse.move(x, place.y + 100)
  assert.ok(Math.abs(less - before + 100) <= 2 && Math.abs(more - before - 50) <= 2, `${before}, ${less}, ${more}`)
  assert.equal(await height(), more, 'let go')

  await page.locator('iframe').focus()
  // The way leads through the text.
  const role = () => page.evaluate(() => document.activeElement?.getAttribute('role'))
  for (let n = 0; n < 3 && (await role()) !== 'separator'; n++) await page.keyboard.press('Tab')
  assert.equal(await role(), 'separator')
  const value = async (): Promise<number> => Number(await handle.getAttribute('aria-valuenow'))
  const values: number[] = [await value()]
  for (const key of ['ArrowDown', 'ArrowUp', 'PageDown', 'Home', 'ArrowUp', 'End', 'ArrowDown']) {
    await page.keyboard.press(key)
    values.push(await value())
    assert.ok(Math.abs((await height()) - (values.at(-1)! * 900) / 100) <= 5, key)
  }
  const [start = 0] = values
  assert.deepEqual(values, [start, start + 5, start, start + 50, 20, 20, 1000, 1000])
  assert.match((await handle.getAttribute('aria-valuetext')) ?? '', /^1000 % of the window$/)
  await page.close()
})

test('what is pressed does not lose the place of who has no mouse', async () => {
  const part = (type: string, body: string): string => `--b\r\nContent-Type: ${type}\r\n\r\n${body}\r\n`
  await send(
    'From: <alice@lab.test>\r\nTo: <bob@lab.test>\r\nSubject: Places\r\nMessage-ID: <access-3@lab.test>\r\n' +
      'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n' +
      part('text/plain', 'plain words') +
      part('text/html', `<img src="https://localhost:1/i.png" alt="i">${'<p>line</p>'.repeat(200)}`) +
      '--b--\r\n',
  )
  const page = await logIn('access-3@lab.test', 'bob@lab.test', bob)
  const focused = (text: string) => page.waitForFunction((one) => document.activeElement?.textContent === one, text)
  const press = (name: string) => page.getByRole('button', { name }).press('Enter')
  await press('Show as plain text')
  await focused('Show as formatted')
  await press('Show as formatted')
  await focused('Show as plain text')
  await press('Show images from the internet')
  await page.waitForFunction(() => document.activeElement?.tagName === 'IFRAME')
  await page.close()
})
