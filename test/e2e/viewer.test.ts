/**
 * The instant viewer in a real browser (Debian's Chromium), through the real daemon: mail sealed by the gateway's SMTP,
 * taken from its spool, opened on the page.
 */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { after, test } from 'node:test'
import type { Page } from 'playwright-core'
import { readMail } from '../../src/cli/demo/mail.ts'
import { hostileMail } from '../lab/hostile-mail.ts'
import { labViewer, screenshot } from '../lab/viewer.ts'

const { site, gateway, newPage, send, spooled, logIn, onboardingLink, delivered, setMode, setUpVault } =
  await labViewer()
const bob = gateway.passwords.bob!

const head = (id: string, subject: string): string =>
  `From: Alice <alice@lab.test>\r\nTo: Bob <bob@lab.test>\r\nSubject: ${subject}\r\nMessage-ID: <${id}>\r\n` +
  'Date: Tue, 24 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\n'
const multipart = (kind: string, boundary: string, parts: readonly string[]): string =>
  `Content-Type: multipart/${kind}; boundary="${boundary}"\r\n\r\n${parts.map((part) => `--${boundary}\r\n${part}\r\n`).join('')}--${boundary}--\r\n`
const attached = (name: string, content: Buffer): string =>
  `Content-Type: application/octet-stream; name="${name}"\r\nContent-Transfer-Encoding: base64\r\n` +
  `Content-Disposition: attachment; filename="${name}"\r\n\r\n${content.toString('base64').replace(/.{76}/g, '$&\r\n')}`
const octets = (count: number): Buffer => Buffer.from(Array.from({ length: count }, (_, i) => (i * 7 + (i >> 8)) % 256))

/** What the page says went wrong. */
async function failure(page: Page): Promise<string> {
  const text = await page.getByRole('alert').innerText()
  await page.close()
  return text
}

test('a text mail is opened in the browser with the VESkey, by keyboard alone', async () => {
  await send(
    `${head('text-1@lab.test', '=?utf-8?q?Gr=C3=BC=C3=9Fe?=')}Content-Type: text/plain; charset=utf-8\r\n\r\nmeet at dawn — heron\r\n`,
  )
  const page = await newPage()
  const sent: string[] = []
  page.on('request', (request) => sent.push(`${request.url()} ${request.postData() ?? ''}`))
  await page.goto(`${site}?msgid=text-1%40lab.test`)
  await page.getByRole('heading', { name: 'Encrypted message' }).waitFor()
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H1')
  await page.keyboard.press('Tab')
  await page.keyboard.type('Bob@Lab.test')
  await page.keyboard.press('Tab')
  await page.keyboard.type(bob)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Grüße' }).waitFor()
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Grüße')
  assert.match(await page.locator('.text').innerText(), /meet at dawn — heron/)
  assert.match(await page.locator('.headers').innerText(), /Alice <alice@lab\.test>[\s\S]*Tuesday,? 24 November 2026/)
  // The server alone was asked, saw neither VESkey nor plaintext, and left nothing behind.
  assert.ok(
    sent.filter((one) => one.startsWith(`${site}api/`)).length >= 3 && sent.some((one) => one.includes('token')),
  )
  assert.deepEqual(
    sent.filter((one) => !one.startsWith(site) || one.includes(bob) || one.includes('heron')),
    [],
  )
  assert.deepEqual(await page.context().cookies(), [])
  await page.close()
})

test('someone without a vault: link of the banner, vault set up, mail read, attachment saved byte for byte', async () => {
  const content = octets(300_000)
  const html =
    '<p>Dear Carol,</p><p>as promised, the drawings of the <b>kingfisher</b> house. The south front is still open:</p>' +
    '<ul><li>larch, as in the village</li><li>or slate, if the price holds</li></ul>' +
    '<p>Tell me what you think until <i>Friday</i>.</p><p>Gr&uuml;&szlig;e, Alice</p>'
  const text = multipart('alternative', 'b0', [
    'Content-Type: text/plain\r\n\r\nAs promised: kingfisher.',
    `Content-Type: text/html\r\n\r\n${html}`,
  ])
  const parts = [text, attached('plan 1.bin', content), attached('costs.csv', octets(4000))]
  const mail = head('stranger-1@lab.test', 'The drawings') + multipart('mixed', 'b1', parts)
  await send(mail, 'carol@lab.test')
  const stored = await delivered('carol')
  assert.doesNotMatch(stored, /kingfisher/)
  const banner = stored.match(/https:\/\/localhost:\d+\/now\/\?msgid=[\w.@%-]+/)?.[0]
  assert.ok(banner !== undefined, 'the banner has the link')

  const page = await newPage()
  await page.goto(banner)
  await page.getByRole('heading', { name: 'Encrypted message' }).waitFor()
  await screenshot(page, 'log-in')
  const card = page.getByRole('region', { name: 'You have no vault yet?' })
  await card.getByLabel('Your e-mail address').fill('carol@lab.test')
  await card.getByRole('button', { name: 'Send me the link' }).click()
  await card.getByText('a mail with a link is on its way').waitFor()

  // Another window, as a mail program opens it.
  const second = await newPage()
  const link = await onboardingLink('carol@lab.test')
  await second.goto(link)
  await second.getByRole('button', { name: 'Set up my vault' }).click()
  await second.getByRole('heading', { name: 'Your vault is ready' }).waitFor()
  assert.doesNotMatch(second.url(), /token/)
  const veskey = await second.getByLabel('VESkey: opens').inputValue()
  assert.match(veskey, /^\w{32}$/)
  await screenshot(second, 'vault')
  await second.getByLabel('I have kept both').check()
  await second.getByRole('button', { name: 'Open the message' }).click()
  await second.getByRole('heading', { name: 'The drawings' }).waitFor()
  const shown = second.frameLocator('iframe').frameLocator('iframe')
  assert.match(await shown.locator('body').innerText(), /as promised, the drawings of the kingfisher house/)
  await screenshot(second, 'message')
  const [download] = await Promise.all([
    second.waitForEvent('download'),
    second.getByRole('button', { name: 'Save plan 1.bin' }).click(),
  ])
  assert.equal(download.suggestedFilename(), 'plan 1.bin')
  assert.ok(readFileSync(await download.path()).equals(content))
  // The vault is a real one: it opens the message anew, by its VESkey; and the link works once.
  const again = await logIn('stranger-1@lab.test', 'carol@lab.test', veskey)
  await again.getByRole('heading', { name: 'The drawings' }).waitFor()
  await again.frameLocator('iframe').frameLocator('iframe').getByText('as promised').waitFor()
  await again.setViewportSize({ width: 390, height: 844 })
  await again.emulateMedia({ colorScheme: 'dark' })
  await screenshot(again, 'message-phone')
  const twice = await newPage()
  await twice.goto(link)
  await twice.getByRole('button', { name: 'Set up my vault' }).click()
  assert.match(await failure(twice), /used already/)
  await Promise.all([page, second, again].map((one) => one.close()))
})

test('HTML with its own images; nested messages; attachments one by one and all; a phone, and the dark', async () => {
  const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='
  const image = `Content-Type: image/png\r\nContent-ID: <dot@x>\r\nContent-Transfer-Encoding: base64\r\n\r\n${png}`
  const html =
    'Content-Type: text/html; charset=utf-8\r\n\r\n<style>b{color:rgb(1,2,3)}</style><p>See the <b>dot</b>: <img alt="dot" src="cid:dot@x"></p>'
  const rich = multipart('alternative', 'b3', [
    'Content-Type: text/plain\r\n\r\nSee the dot.',
    multipart('related', 'b4', [html, image]),
  ])
  const inner = `From: Dora <dora@lab.test>\r\nSubject: Within\r\n${multipart('mixed', 'b5', ['Content-Type: text/plain\r\n\r\ninner cormorant', attached('inner.bin', octets(5000))])}`
  // More in plain around the sealed parts than fits into the first block of its digest.
  const nested = `Content-Type: message/rfc822\r\nContent-Description: ${'a long one '.repeat(60)}\r\n\r\n${inner}`
  const second = octets(2000).subarray(1000)
  const mail =
    head('rich-1@lab.test', 'Rich') + multipart('mixed', 'b2', [rich, nested, attached('second.bin', second)])
  await send(mail)
  const page = await logIn('rich-1@lab.test', 'bob@lab.test', bob)
  await page.getByRole('heading', { name: 'Rich' }).waitFor()
  const frame = page.frameLocator('iframe').frameLocator('iframe')
  const dot = frame.getByAltText('dot')
  await dot.waitFor()
  assert.equal(await dot.evaluate((shown) => (shown as unknown as { naturalWidth: number }).naturalWidth), 1)
  assert.equal(await frame.locator('b').evaluate((shown) => getComputedStyle(shown).color), 'rgb(1, 2, 3)')
  assert.equal(await page.getByRole('button', { name: 'Show images from the internet' }).count(), 0)
  await page.getByRole('button', { name: 'Show as plain text' }).click()
  await page.getByText('See the dot.').waitFor()
  assert.match(await page.locator('.nested').innerText(), /Dora[\s\S]*inner cormorant[\s\S]*inner\.bin/)

  assert.equal(await page.locator('.warning').count(), 0, 'nothing happened to it on its way')
  const outer = page.locator('article > .attachments')
  assert.deepEqual(await outer.locator('.name').allInnerTexts(), ['Within.eml', 'second.bin'])
  const saved: [string, Buffer][] = []
  const both = new Promise<void>((resolve) => {
    page.on('download', async (download) => {
      saved.push([download.suggestedFilename(), readFileSync(await download.path())])
      if (saved.length === 2) resolve()
    })
  })
  await outer.getByRole('button', { name: 'Save all' }).click()
  await both
  const files = new Map(saved)
  assert.ok(files.get('second.bin')?.equals(second))
  // The line end before a delimiter is the delimiter's.
  assert.equal(files.get('Within.eml')?.toString('latin1'), inner)

  await page.setViewportSize({ width: 320, height: 640 })
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 320), 'nothing sticks out on a phone')
  await page.emulateMedia({ colorScheme: 'dark' })
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  assert.equal(ground, 'rgb(13, 17, 23)')
  await page.getByRole('button', { name: 'Close the message' }).click()
  assert.equal(await page.locator('article').count(), 0)
  await page.close()
})

test('a hostile message gets nothing out and runs nothing', async () => {
  const asked: string[] = []
  let gotImage = (): void => {}
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    if (request.url === '/image-plain') gotImage()
    response.writeHead(200, { 'access-control-allow-origin': '*' }).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(() => server.close())
  const canary = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  await send(hostileMail(canary, 'hostile-1@lab.test'))

  const page = await newPage()
  const ran: string[] = []
  page.on('dialog', (dialog) => {
    ran.push(`dialog ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('popup', (popup) => ran.push(`popup ${popup.url()}`))
  page.on('console', (message) => ran.push(...(/^ran/.test(message.text()) ? [message.text()] : [])))
  await page.addInitScript(() => {
    addEventListener('message', ({ data }) => {
      if (data !== 'frame-ready' && typeof data !== 'object') console.log(String(data))
    })
  })
  await page.goto(`${site}?msgid=hostile-1%40lab.test`)
  const form = page.locator('form', { has: page.getByLabel('Your VESkey') })
  await form.getByLabel('Your e-mail address').fill('bob@lab.test')
  await form.getByLabel('Your VESkey').fill(bob)
  await form.getByRole('button', { name: 'Open the message' }).click()
  const frame = page.frameLocator('iframe').frameLocator('iframe')
  await frame.locator('#end').waitFor()
  const address = page.url()

  // What is left of it: no element that acts, no attribute that does, no address but of the web.
  const left = await frame
    .locator('html')
    .evaluate((root) =>
      [...root.querySelectorAll('*')].flatMap((element) => [
        element.tagName.toLowerCase(),
        ...[...element.attributes]
          .filter(({ name }) => /^on|srcset|action|ping|background/.test(name))
          .map(({ name }) => name),
      ]),
    )
  const acting =
    /^(?:script|iframe|object|embed|form|input|button|link|base|svg|math|video|audio|source|template|on.*|srcset|action|formaction|ping|background)$/
  assert.deepEqual(
    left.filter((name) => acting.test(name)),
    [],
  )
  for (const id of ['js', 'js2', 'data', 'vb']) {
    const link = frame.getByText({ js: 'javascript', js2: 'tab', data: 'data', vb: 'vb' }[id]!, { exact: true })
    assert.equal(await link.getAttribute('href'), null, id)
    await link.click()
  }
  assert.equal(await frame.getByText('top', { exact: true }).getAttribute('target'), '_blank')
  assert.equal(asked.length, 0, asked.join())

  // The reader wants the images: now they come, and nothing else. This also shows that the server would have known.
  const image = new Promise<void>((resolve) => {
    gotImage = resolve
  })
  await page.getByRole('button', { name: 'Show images from the internet' }).click()
  await image
  await frame.locator('#end').waitFor()
  assert.deepEqual(
    asked.filter((url) => !url.startsWith('/image-')),
    [],
  )
  assert.deepEqual(ran, [])
  assert.equal(page.url(), address, 'the page is still where it was')
  assert.match(await page.getByRole('heading', { level: 1 }).innerText(), /^<img src=x onerror=/)
  // What is saved has a name that says what it is, and the type of no page.
  const name = (await page.locator('.attachments .name').allInnerTexts()).find((one) => one.includes('xxx'))!
  assert.doesNotMatch(name, /[/\\<>\u202e]|^\./)
  await page.close()
})

test('parts that were put in on the way are marked, what the sender wrote is not', async () => {
  const parts = ['Content-Type: text/plain\r\n\r\nthe wren is ours', attached('ours.bin', octets(100))]
  await send(head('put-1@lab.test', 'Put in') + multipart('mixed', 'b8', parts))
  const file = await spooled('put-1@lab.test')
  const sealed = readFileSync(file, 'latin1')
  const foreign = [
    'Content-Type: text/plain\r\n\r\npay to another account',
    'Content-Type: text/html\r\n\r\n<p>or here</p>',
    attached('theirs.bin', octets(100)),
    'Content-Type: message/rfc822\r\n\r\nSubject: Forged\r\n\r\nor there',
  ]
  const put = foreign.map((part) => `--b8\r\n${part}\r\n`).join('')
  const altered = sealed.replace(/^--b8--/m, () => `${put}--b8--`)
  assert.notEqual(altered, sealed)
  writeFileSync(file, altered, 'latin1')
  const page = await logIn('put-1@lab.test', 'bob@lab.test', bob)
  await page.getByRole('heading', { name: 'Put in' }).waitFor()
  await page.getByText('A part of this message was not encrypted by the sender').waitFor()
  await page.frameLocator('iframe').frameLocator('iframe').getByText('or here').waitFor()
  const mark = 'Not encrypted by the sender'
  assert.equal(await page.locator('article > .text').innerText(), 'the wren is ours')
  const marked = page.locator('article > .unsealed')
  assert.equal(await marked.count(), 3)
  for (const [i, words] of [/pay to another account/, /./, /Forged[\s\S]*or there/].entries()) {
    const text = await marked.nth(i).innerText()
    assert.ok(text.startsWith(mark) && words.test(text), text)
  }
  assert.equal(await marked.nth(1).locator('iframe').count(), 1)
  const rows = await page.locator('article > .attachments li').allInnerTexts()
  assert.deepEqual(
    rows.map((row) => row.includes(mark)),
    [false, true, true],
    rows.join(),
  )
  await page.close()
})

test('failures in plain words', async () => {
  await send(`${head('fail-1@lab.test', 'For Bob')}\r\nfor bob only\r\n`)
  const dave = await gateway.createAccount('dave@lab.test')
  assert.match(await failure(await logIn('fail-1@lab.test', 'bob@lab.test', 'wrong')), /do not belong together/)
  assert.match(await failure(await logIn('fail-1@lab.test', 'nobody@lab.test', bob)), /do not belong together/)
  assert.match(await failure(await logIn('none@lab.test', 'bob@lab.test', bob)), /no such message/)
  assert.match(await failure(await logIn('fail-1@lab.test', 'dave@lab.test', dave)), /not sent to this address/)

  const file = await spooled('fail-1@lab.test')
  const sealed = readFileSync(file, 'latin1')
  const at = sealed.lastIndexOf('\r\n\r\n', sealed.indexOf('X-VESmail-Part: banner')) + 10
  writeFileSync(file, `${sealed.slice(0, at)}${sealed[at] === 'A' ? 'B' : 'A'}${sealed.slice(at + 1)}`, 'latin1')
  assert.match(await failure(await logIn('fail-1@lab.test', 'bob@lab.test', bob)), /altered or damaged/)
  // Another message of the same sender in its place.
  await send(`${head('fail-2@lab.test', 'Another')}\r\nanother\r\n`)
  writeFileSync(file, readFileSync(await spooled('fail-2@lab.test')))
  assert.match(await failure(await logIn('fail-1@lab.test', 'bob@lab.test', bob)), /altered or damaged/)
  writeFileSync(file, 'Subject: plain\r\n\r\nnot sealed\r\n')
  assert.match(await failure(await logIn('fail-1@lab.test', 'bob@lab.test', bob)), /not an encrypted message/)
  rmSync(file)
  assert.match(await failure(await logIn('fail-1@lab.test', 'bob@lab.test', bob)), /no longer kept here/)
})

test('a long mail shows how far it is; of one that was cut, what came whole', async () => {
  const text = 'Content-Type: text/plain\r\n\r\nthe text in front'
  const large =
    head('long-1@lab.test', 'Long') + multipart('mixed', 'b6', [text, attached('large.bin', octets(3_000_000))])
  await send(large)
  const page = await newPage()
  await page.addInitScript(() => {
    new MutationObserver(() => {
      const bar = document.querySelector('progress')
      if (bar !== null) document.documentElement.dataset.progress = `${bar.max} ${bar.getAttribute('aria-label')}`
    }).observe(document, { subtree: true, childList: true })
  })
  await page.goto(`${site}?msgid=long-1%40lab.test`)
  const form = page.locator('form', { has: page.getByLabel('Your VESkey') })
  await form.getByLabel('Your e-mail address').fill('bob@lab.test')
  await form.getByLabel('Your VESkey').fill(bob)
  await form.getByRole('button', { name: 'Open the message' }).click()
  await page.getByText('The copy kept here ends too early').waitFor()
  assert.match(await page.locator('.text').innerText(), /the text in front/)
  assert.match(await page.locator('.attachments').innerText(), /large\.bin[\s\S]*cannot be saved/)
  assert.equal(await page.getByRole('button', { name: 'Save' }).count(), 0)
  assert.match(
    (await page.evaluate(() => document.documentElement.dataset.progress)) ?? '',
    /^1048576 Opening .* of 1 MB/,
  )
  await page.close()
})

test('a key that was not handed over yet: said so, and there once the sender came by', async () => {
  const alice = gateway.passwords.alice!
  await setMode('alice', 'HIGH')
  await send(`${head('high-1@lab.test', 'Patience')}\r\nworth the wait\r\n`, 'erin@lab.test')
  const erin = await setUpVault('erin@lab.test')
  assert.match(await failure(await logIn('high-1@lab.test', 'erin@lab.test', erin)), /not yet handed you the key/)
  // The sender's next contact is what hands it over.
  await readMail(
    { host: '127.0.0.1', port: gateway.ports.imaps, secure: true, ca: gateway.ca },
    { user: 'alice@lab.test', pass: alice },
  )
  const page = await logIn('high-1@lab.test', 'erin@lab.test', erin)
  await page.getByText('worth the wait').waitFor()
  await page.close()
})
