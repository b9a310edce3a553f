/**
 * The instant viewer as the server sees it (now.md): files that never change under their names, and the page's policy.
 * Messages, VESkeys and keys are the browser's alone; nothing here knows them.
 */
import type { HttpResponse } from '../http.ts'

export interface ViewerFile {
  readonly type: string
  readonly body: Buffer
}

/** What the page has to know of this server; public. */
export interface ViewerConfig {
  readonly domain: string
  readonly newKeys: 'post-quantum' | 'compatible'
  /** Where spooled copies are cut; null: they are whole. */
  readonly spoolOctets: number | null
}

/** Below `/now/`. */
const PAGE = 'index.html'
const FRAME = 'frame.html'
const CONFIG = 'config.json'

/** Nothing from elsewhere, no inline script, no markup that runs, no one to frame it. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "frame-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/**
 * The frame that HTML mail is shown in inherits this: images of the message alone, or, where the reader asked for it,
 * those of the internet; styles, since mail has them in it, but nothing that they would load.
 */
function framePolicy(images: string): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'unsafe-inline'",
    `img-src ${images}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'self'",
    'sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox',
  ].join('; ')
}

const EVERYWHERE = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-dns-prefetch-control': 'off',
  'permissions-policy': 'camera=(), microphone=(), geolocation=(), payment=(), usb=(), interest-cohort=()',
} as const

/** @param path below `/now/`. @returns null for what is not there */
export type Viewer = (path: string, query: string) => HttpResponse | null

export function viewer(files: ReadonlyMap<string, ViewerFile>, config: ViewerConfig): Viewer {
  const settings = JSON.stringify(config)
  return (path, query) => {
    if (path === CONFIG) {
      const headers = { ...EVERYWHERE, 'content-type': 'application/json', 'cache-control': 'no-store' }
      return { status: 200, headers, body: settings }
    }
    const name = path === '' ? PAGE : path
    const file = files.get(name)
    if (file === undefined) return null
    const headers = { ...EVERYWHERE, 'content-type': file.type, ...policyOf(name, query) }
    return { status: 200, headers, body: file.body }
  }
}

function policyOf(name: string, query: string): Record<string, string> {
  if (name === PAGE) {
    return {
      'content-security-policy': PAGE_POLICY,
      'x-frame-options': 'DENY',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-cache',
    }
  }
  if (name === FRAME) {
    const images = query === 'images' ? 'data: https: http:' : 'data:'
    return { 'content-security-policy': framePolicy(images), 'cache-control': 'no-cache' }
  }
  // A name of its own for each content. A worker has the policy that its script came with: it may ask this server.
  return {
    'content-security-policy': "default-src 'none'; connect-src 'self'",
    'cache-control': 'public, max-age=31536000, immutable',
  }
}
