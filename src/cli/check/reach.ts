/** What is wrong with a connection, and what to do about it, by the codes of Node and OpenSSL. */

/** @param options which of the configuration's keys to look at: for the address, and for authorities */
export function adviceOn(code: string, options: { readonly address: string; readonly ca: string }): string {
  const { address, ca } = options
  if (/ALTNAME_INVALID/.test(code)) return `${code}: its certificate is for another name: correct ${address}`
  if (/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/.test(code)) return `${code}: its certificate must be renewed there`
  if (/SELF_SIGNED|UNABLE_TO|CERT_UNTRUSTED|CERT_SIGNATURE/.test(code)) {
    return `${code}: its certificate is not trusted: put its authority into the file of ${ca}`
  }
  if (/^ERR_SSL|EPROTO/.test(code)) return `${code}: no TLS there, or another version: correct ${address}`
  if (/ENOTFOUND|EAI_AGAIN|UPSTREAM_DNS/.test(code))
    return `${code}: the name is not known: correct ${address}, or look at DNS`
  if (/ECONNREFUSED/.test(code)) return `${code}: nothing listens there: start it, or correct ${address}`
  if (/timeout|TIMEOUT|EHOSTUNREACH|ENETUNREACH/i.test(code))
    return `${code}: no answer: look at ${address}, routes and firewalls`
  return code
}

export function codeOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  return (error as NodeJS.ErrnoException).code ?? error.message
}
