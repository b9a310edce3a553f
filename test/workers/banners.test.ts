import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Config, DEFAULTS } from '../../src/base/config/options.ts'
import { type Log, silentLog } from '../../src/base/log.ts'
import { fillBanner, loadBanners } from '../../src/workers/banners.ts'

const config = (changes: Partial<Config>): Config => ({ ...DEFAULTS, ...changes })
const fill = (text: string, app: unknown): string => fillBanner(Buffer.from(text), app).toString()

test('names: what is known is filled in, what is unknown stays', () => {
  const app = { a: { b: 'x', n: 5 }, name: 'Ü' }
  assert.equal(fill('{$app.a.b}|{$app.name}|{$app.a.n}', app), 'x|Ü|5')
  assert.equal(
    fill('{$app.none}|{$app.a}|{$app.a.b.c}|{$app.constructor.name}', app),
    Array(4).fill('[unspecified]').join('|'),
  )
  assert.equal(fill('{$url}|{$other}|{$App.a}|{$app.a9}', app), '{$url}|{$other}|{$App.a}|{$app.a9}')
  assert.equal(fill(`{$app.${'x'.repeat(27)}}|{$app.${'x'.repeat(28)}}`, app), `[unspecified]|{$app.${'x'.repeat(28)}}`)
  assert.equal(fill('{$app.a.b}', null), '[unspecified]')
})

test('files, and the app section whose href is the longest', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vm-banner-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const banner = join(directory, 'b')
  const manifest = join(directory, 'm')
  writeFileSync(banner, 'Content-Type: text/plain\n\n{$app.title} {$url}')
  writeFileSync(
    manifest,
    JSON.stringify({
      apps: [
        { href: '/', title: 'root' },
        { href: '/now', title: 'path' },
        { href: '//other.example/now/view', title: 'other host' },
        { href: '//mail.example/n', title: 'short host' },
        { href: 'https://mail.example/now/view', title: 'absolute' },
      ],
    }),
  )
  const filled = (url: string | null): string =>
    loadBanners(config({ banner: [banner], manifest, 'now.url': url }), silentLog)[0]!
      .toString()
      .split('\n')[2]!
  assert.equal(filled('https://mail.example/now/view?id='), 'short host {$url}')
  assert.equal(filled('https://elsewhere.example/now/view?id='), 'path {$url}')
  assert.equal(filled('https://elsewhere.example/x'), 'root {$url}')
  assert.equal(filled(null), '[unspecified] {$url}')
})

test('a file that is configured and cannot be read: none, and an error in the log', () => {
  const errors: string[] = []
  const log: Log = { write: (level, event) => errors.push(`${level} ${event}`), child: () => log }
  assert.deepEqual(loadBanners(config({ banner: ['/nowhere/at/all'] }), log), [])
  assert.deepEqual(errors, ['error banner'])
})

test('built in: one text, one HTML, each with its own Content-Type; an address only where there is one', () => {
  const types = (url: string | null) =>
    loadBanners(config({ 'now.url': url }), silentLog).map((part) => [
      part.toString().split('\r\n')[0],
      part.includes('{$url}'),
    ])
  assert.deepEqual(types('https://x/'), [
    ['Content-Type: text/plain; charset=us-ascii', true],
    ['Content-Type: text/html; charset=us-ascii', true],
  ])
  assert.deepEqual(
    types(null).map(([, hasUrl]) => hasUrl),
    [false, false],
  )
})
