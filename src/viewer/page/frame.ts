/**
 * The frame around HTML mail. It has an origin of its own and a stricter policy than the page, which the frame inside,
 * that holds the mail, inherits: no scripts, nothing loaded but what is in the message (`net/now/viewer.ts`). The mail's
 * frame may run nothing and belongs to nobody; a link opens a new window.
 */
window.addEventListener('message', ({ data, source }: MessageEvent<unknown>) => {
  if (source !== window.parent || typeof data !== 'object' || data === null) return
  const { html, title } = data as { readonly html?: unknown; readonly title?: unknown }
  if (typeof html !== 'string') return
  const mail = document.createElement('iframe')
  mail.setAttribute('sandbox', 'allow-popups allow-popups-to-escape-sandbox')
  mail.referrerPolicy = 'no-referrer'
  mail.title = typeof title === 'string' ? title : ''
  mail.srcdoc = html
  document.body.replaceChildren(mail)
})
window.parent.postMessage('frame-ready', '*')
