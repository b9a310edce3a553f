/**
 * HTML of a mail made safe to show: cleaned by DOMPurify to what has no behaviour, its images taken from the message. It
 * is then shown in a frame that runs nothing and loads nothing (`frame.ts`), so that what slips through one does not get
 * through the other.
 */
import DOMPurify from 'dompurify'
import type { InlineImage } from '../message/view.ts'

export interface CleanHtml {
  readonly html: string
  /** Something would be loaded from the internet. */
  readonly hasRemote: boolean
}

const FORBIDDEN_TAGS = [
  ...['form', 'input', 'button', 'select', 'option', 'textarea', 'fieldset', 'label', 'datalist', 'output', 'meter'],
  ...['iframe', 'frame', 'frameset', 'object', 'embed', 'applet', 'portal', 'base', 'link', 'meta', 'dialog'],
  ...['audio', 'video', 'source', 'track', 'picture', 'canvas', 'map', 'area', 'template', 'slot', 'noscript'],
]
const FORBIDDEN_ATTRIBUTES = [
  'srcset',
  'action',
  'formaction',
  'ping',
  'poster',
  'autofocus',
  'contenteditable',
  'popover',
]
/** Where an image may come from: the message itself, or, once the reader says so, the internet. */
const LINK = /^(?:https?|mailto):/i
const REMOTE = /^\s*(?:https?:)?\/\//i
const REMOTE_IN_CSS = /(?:url\(\s*["']?|@import\s+["']?|image-set\(\s*["']?)(?:https?:)?\/\//i

/** @param images data: URLs by Content-ID */
export function cleanHtml(html: string, images: ReadonlyMap<string, string>, withRemote: boolean): CleanHtml {
  const root = DOMPurify.sanitize(html, {
    WHOLE_DOCUMENT: true,
    RETURN_DOM: true,
    USE_PROFILES: { html: true },
    ADD_TAGS: ['style'],
    FORBID_TAGS: FORBIDDEN_TAGS,
    FORBID_ATTR: FORBIDDEN_ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP:
      /^(?:https?:|mailto:|cid:|data:image\/(?:png|jpeg|gif|webp|bmp);|[^a-z]|[a-z+.-]+(?:[^a-z+.\-:]|$))/i,
    SANITIZE_DOM: true,
  }) as unknown as HTMLElement
  let hasRemote = false
  for (const image of root.querySelectorAll('img')) {
    const source = image.getAttribute('src') ?? ''
    if (/^cid:/i.test(source)) {
      const found = images.get(decoded(source.slice('cid:'.length)))
      if (found === undefined) image.removeAttribute('src')
      else image.setAttribute('src', found)
    } else if (REMOTE.test(source)) {
      hasRemote = true
      if (!withRemote) image.removeAttribute('src')
    } else if (!/^data:/i.test(source)) image.removeAttribute('src')
  }
  for (const element of root.querySelectorAll('[background]')) {
    if (REMOTE.test(element.getAttribute('background')!)) hasRemote = true
    if (!withRemote) element.removeAttribute('background')
  }
  for (const element of root.querySelectorAll('[style], style')) {
    const css = element.tagName === 'STYLE' ? element.textContent : element.getAttribute('style')
    if (REMOTE_IN_CSS.test(css ?? '')) hasRemote = true
  }
  for (const link of root.querySelectorAll('a')) {
    // Relative ones lead nowhere, and those to a place in the message do not work across a new window.
    if (!LINK.test(link.getAttribute('href')?.trim() ?? '')) link.removeAttribute('href')
    link.setAttribute('target', '_blank')
    link.setAttribute('rel', 'noopener noreferrer nofollow')
  }
  return { html: documentOf(root), hasRemote }
}

export async function dataUrls(images: readonly InlineImage[]): Promise<ReadonlyMap<string, string>> {
  const read = images.map(async ({ contentId, type, octets }): Promise<[string, string]> => {
    const url = await new Promise<string>((resolve, reject) => {
      const reader = new FileReader()
      reader.onload = () => resolve(reader.result as string)
      reader.onerror = () => reject(reader.error)
      reader.readAsDataURL(new Blob([octets], { type }))
    })
    return [contentId, url]
  })
  return new Map(await Promise.all(read))
}

function documentOf(root: HTMLElement): string {
  const styles = [...root.querySelectorAll('style')].map((style) => style.outerHTML)
  for (const style of root.querySelectorAll('style')) style.remove()
  const body = root.querySelector('body') ?? root
  // The policy again, for a browser that would not inherit it.
  const policy = `<meta http-equiv="Content-Security-Policy" content="script-src 'none'; object-src 'none'; form-action 'none'; base-uri 'none'; connect-src 'none'; frame-src 'none'">`
  const own =
    '<style>body{margin:12px;font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}img{max-width:100%;height:auto}</style>'
  return `<!doctype html><html><head><meta charset="utf-8">${policy}<meta name="referrer" content="no-referrer">${own}${styles.join('')}</head>${body.outerHTML}</html>`
}

function decoded(id: string): string {
  try {
    return decodeURIComponent(id)
  } catch (error) {
    if (error instanceof URIError) return id
    throw error
  }
}
