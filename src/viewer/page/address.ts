/** What the page's address says: which message is asked for, whose vault is to be made. Anybody may have written it. */

/** Longer than any Message-ID that mail programs write; a line of mail has no more (RFC 5322 §2.1.1). Characters. */
const MAX_ID = 998
/** RFC 5321 §4.5.3.1, with room for what an address becomes as text. Characters. */
const MAX_EMAIL = 320
/** Tokens of a repository have at most 79. Characters. */
const MAX_TOKEN = 79

/**
 * @param search of the address: `?msgid=…` (`now.url`), the id with or without angle brackets and suffix
 * @returns null where none is asked for, or what stands there is too long for one
 */
export function askedMessage(search: string): string | null {
  const id = (new URLSearchParams(search).get('msgid') ?? '')
    .trim()
    .replace(/^<(.*)>$/, '$1')
    .replace(/\.m\.ves\.world$/, '')
  return id === '' || id.length > MAX_ID ? null : id
}

/** @param hash `#email=…&token=…` of the onboarding mail; in an invitation the token is empty */
export function onboardingLink(hash: string): { readonly email: string; readonly token: string } {
  const values = new URLSearchParams(hash.slice(1))
  const short = (name: string, most: number): string => {
    const value = values.get(name) ?? ''
    return value.length > most ? '' : value
  }
  return { email: short('email', MAX_EMAIL), token: short('token', MAX_TOKEN) }
}
