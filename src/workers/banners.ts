/**
 * Banner parts: what somebody without a VESmail client reads in a sealed message (daemon.md §1, Banners). Each begins
 * with its own Content-Type header. `{$app.…}` is filled in here, `{$url}` for each message by the sealer.
 */

import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { Config } from '../base/config/options.ts'
import { messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'

/** Where the C program looks when nothing is configured. */
const USUAL_FILES = ['/etc/vesmail/vesmail-banner-txt', '/etc/vesmail/vesmail-banner-html']
/** Goes into every sealed message: a large one is a mistake. */
const MAX_BANNER_OCTETS = 256 * 1024
const MAX_MANIFEST_OCTETS = 1024 * 1024

/** Never throws: mail goes on without a banner that cannot be read, and the log says so. */
export function loadBanners(config: Config, log: Log): readonly Buffer[] {
  const app = config.manifest === null ? null : appSection(config.manifest, config['now.url'], log)
  const fill = (part: Buffer): Buffer => fillBanner(part, app)
  if (config.banner !== null) {
    return config.banner.flatMap((file) => {
      const part = readBounded(file, MAX_BANNER_OCTETS, (reason) => log.write('error', 'banner', { file, reason }))
      return part === null ? [] : [fill(part)]
    })
  }
  const usual = USUAL_FILES.flatMap((file) => readBounded(file, MAX_BANNER_OCTETS, () => {}) ?? [])
  return (usual.length > 0 ? usual : builtInBanners(config['now.url'] !== null)).map(fill)
}

/** Of an override that brings `banner-content`. */
export function bannersOf(contents: readonly string[]): readonly Buffer[] {
  return contents.map((content) => fillBanner(Buffer.from(content), null))
}

/**
 * `{$app.a.b}` becomes the string at `a.b` of the section, `[unspecified]` where there is none; all other names stay.
 * Names: a–z, `_` and `.`, at most 31 characters.
 */
export function fillBanner(part: Buffer, app: unknown): Buffer {
  const text = part.toString('latin1')
  const filled = text.replace(/\{\$([a-z_.]{1,31})\}/g, (whole, name: string) => {
    if (!name.startsWith('app.')) return whole
    let value = app
    for (const key of name.slice('app.'.length).split('.')) {
      value = typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : null
    }
    // As octets: the banner is not decoded.
    return typeof value === 'string' || typeof value === 'number'
      ? Buffer.from(String(value)).toString('latin1')
      : '[unspecified]'
  })
  return filled === text ? part : Buffer.from(filled, 'latin1')
}

const Section = z.looseObject({ href: z.string() })

/** The section whose `href` is the longest that leads to the viewer's address. */
function appSection(file: string, viewerUrl: string | null, log: Log): unknown {
  const failed = (reason: string): void => log.write('error', 'manifest', { file, reason })
  const content = readBounded(file, MAX_MANIFEST_OCTETS, failed)
  if (content === null) return null
  try {
    const manifest: unknown = JSON.parse(content.toString('utf8'))
    if (viewerUrl === null) return null
    const url = new URL(viewerUrl)
    let best: z.infer<typeof Section> | null = null
    for (const section of sectionsOf(manifest)) {
      const { href } = section
      const target = href.startsWith('//') ? `//${url.host}${url.pathname}` : url.pathname
      if (href.startsWith('/') && target.startsWith(href) && href.length > (best?.href.length ?? 0)) best = section
    }
    return best
  } catch (error) {
    failed(messageOf(error))
    return null
  }
}

/** `app` or `apps`: one section, a list, or an object of them. */
function sectionsOf(manifest: unknown): z.infer<typeof Section>[] {
  if (typeof manifest !== 'object' || manifest === null) return []
  const found: z.infer<typeof Section>[] = []
  for (const name of ['app', 'apps']) {
    const value: unknown = Reflect.get(manifest, name)
    if (typeof value !== 'object' || value === null) continue
    for (const candidate of [value, ...Object.values(value)]) {
      const section = Section.safeParse(candidate)
      if (section.success) found.push(section.data)
    }
  }
  return found
}

function readBounded(file: string, maxOctets: number, failed: (reason: string) => void): Buffer | null {
  try {
    const content = readFileSync(file)
    if (content.length <= maxOctets) return content
    failed(`larger than ${maxOctets} octets`)
  } catch (error) {
    failed(messageOf(error))
  }
  return null
}

function builtInBanners(withUrl: boolean): Buffer[] {
  const how = withUrl
    ? ['To read it, open this address and log in with your VES account:', '{$url}']
    : ['To read it, open your mailbox through your VESmail gateway.']
  const first = 'This message is encrypted end to end by VESmail.'
  const help = 'If you have no VES account yet, look for a mail that tells you how to set one up, or ask the sender.'
  const text = ['Content-Type: text/plain; charset=us-ascii', '', first, '', ...how, '', help, '']
  const link = withUrl ? '<p><a href="{$url}">{$url}</a></p>' : ''
  const html = [
    'Content-Type: text/html; charset=us-ascii',
    '',
    '<!DOCTYPE html>',
    `<html><body><p>${first}</p><p>${how[0]}</p>${link}<p>${help}</p></body></html>`,
    '',
  ]
  return [text, html].map((lines) => Buffer.from(lines.join('\r\n')))
}
