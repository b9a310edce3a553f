/** Saves what was opened as files: one, or all of them one after the other. */

/** A browser takes downloads that follow each other too fast for one. */
const BETWEEN_MS = 300
const RELEASE_MS = 60_000

export function saveFile(name: string, content: Blob): void {
  const url = URL.createObjectURL(content)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), RELEASE_MS)
}

export async function saveAll(files: readonly { readonly name: string; readonly octets: Blob }[]): Promise<void> {
  for (const { name, octets } of files) {
    saveFile(name, octets)
    await new Promise((later) => setTimeout(later, BETWEEN_MS))
  }
}
