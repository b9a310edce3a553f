/**
 * Banners: the parts that tell a reader without the key how to get at the message (message-format.md §4; daemon.md §1).
 */
const PART_HEADER = 'X-VESmail-Part: banner\r\n'

/** `now.url` + message id, percent-encoded except letters, digits and `. - _ @` (now.md). */
export function viewerUrlOf(viewerUrl: string, messageId: string): string {
  return (
    viewerUrl +
    messageId.replace(/[^A-Za-z0-9._@-]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
  )
}

/**
 * The banner parts of one message, each from its own header line on and ending with a line end.
 * @param banners files' contents: they begin with a Content-Type header
 */
export function bannerParts(banners: readonly Buffer[], viewerUrl: string | null, messageId: string): Buffer[] {
  return banners.map((banner) => {
    let text = banner.toString('latin1')
    if (viewerUrl !== null) text = text.replaceAll('{$url}', viewerUrlOf(viewerUrl, messageId))
    text = text.replace(/\r?\n/g, '\r\n')
    return Buffer.from(`${PART_HEADER}${text}${text.endsWith('\r\n') ? '' : '\r\n'}`, 'latin1')
  })
}
