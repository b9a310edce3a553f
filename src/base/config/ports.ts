/**
 * Port numbers as people write them: a number, digits, or a service's name. Node has no `getservbyname`, so the
 * names that mail and web use are listed here (IANA service names, and Debian's aliases).
 */
export const SERVICE_PORTS: Readonly<Record<string, number>> = {
  smtp: 25,
  mail: 25,
  submission: 587,
  submissions: 465,
  smtps: 465,
  ssmtp: 465,
  urd: 465,
  imap: 143,
  imap2: 143,
  imaps: 993,
  http: 80,
  www: 80,
  https: 443,
  'http-alt': 8080,
}

/** @returns null for what is no port (0 is none either) */
export function parsePort(value: string | number): number | null {
  const port =
    typeof value === 'number' ? value : /^\d{1,5}$/.test(value) ? Number(value) : SERVICE_PORTS[value.toLowerCase()]
  return port !== undefined && Number.isInteger(port) && port > 0 && port <= 65_535 ? port : null
}
