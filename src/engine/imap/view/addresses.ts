/**
 * Address lists of From, To, … (RFC 5322 §3.4, with the obsolete forms) as Dovecot 2.3 reads them for ENVELOPE: what is
 * broken still becomes an address, with the server's own stand-ins. Works on latin1 strings. Linear in the value.
 */
import type { Outcome } from './words.ts'
import { Words } from './words.ts'

/** The four strings of `address` in ENVELOPE. Group start: only mailbox. Group end: none. */
export interface Address {
  readonly name: string | null
  readonly route: string | null
  readonly mailbox: string | null
  readonly domain: string | null
}

const GROUP_END: Address = { name: null, route: null, mailbox: null, domain: null }

/** Empty when the value holds no address at all. */
export function parseAddressList(value: string): Address[] {
  const parser = new AddressParser(value)
  parser.list()
  return parser.found
}

class AddressParser {
  readonly found: Address[] = []
  readonly #words: Words
  // The address being read.
  #name: string | null = null
  #route: string | null = null
  #mailbox: string | null = null
  #domain: string | null = null
  #invalid = false

  constructor(value: string) {
    this.#words = new Words(value, true)
  }

  /** `address *("," address)` */
  list(): void {
    const words = this.#words
    if (words.skipSpace() !== 'more') return
    for (;;) {
      if (this.#address() === 'end' || !words.is(',')) return
      words.at++
      const space = words.skipSpace()
      // Ends with garbage (an open comment): one more, of stand-ins.
      if (space === 'bad') this.#addMailbox()
      if (space !== 'more') return
    }
  }

  #address(): Outcome {
    const from = this.#words.at
    const group = this.#group()
    if (group !== 'bad') return group
    this.#words.at = from
    return this.#mailboxSpec()
  }

  /** `phrase ":" [mailbox-list] ";"`; bad only when it is no group. */
  #group(): Outcome {
    const words = this.#words
    const title: string[] = []
    if (words.phrase(title) !== 'more' || !words.is(':')) return 'bad'
    words.at++
    let ended = words.skipSpace()
    this.found.push({ ...GROUP_END, mailbox: title.join('') })
    if (ended === 'more' && !words.is(';')) ended = this.#groupMembers()
    if (ended !== 'bad') {
      if (!words.is(';')) ended = 'bad'
      else {
        words.at++
        ended = words.skipSpace()
      }
    }
    this.found.push(GROUP_END)
    return ended === 'end' ? 'end' : 'more'
  }

  #groupMembers(): Outcome {
    const words = this.#words
    for (;;) {
      this.#mailboxSpec()
      if (!words.is(',')) return 'more'
      words.at++
      if (words.skipSpace() !== 'more') return 'bad'
    }
  }

  /** `name-addr / addr-spec` */
  #mailboxSpec(): Outcome {
    const from = this.#words.at
    let ended = this.#nameAddr()
    if (ended === 'bad') {
      this.#words.at = from
      ended = this.#addrSpec()
      if (this.#invalid && this.#name === null && this.#mailbox !== null && this.#domain === null) {
        this.#name = this.#mailbox
        this.#mailbox = null
      }
    }
    this.#addMailbox()
    return ended
  }

  /** `[phrase] "<" … ">"`; bad only when it is none. */
  #nameAddr(): Outcome {
    const words = this.#words
    const name: string[] = []
    if (words.phrase(name) !== 'more' || !words.is('<')) return 'bad'
    this.#name = name.join('') || null
    if (this.#angleAddr() === 'bad') this.#domain = 'SYNTAX_ERROR'
    return words.done ? 'end' : 'more'
  }

  /** `"<" ["@" route ":"] local-part ["@" domain] ">"` */
  #angleAddr(): Outcome {
    const words = this.#words
    words.at++
    if (words.skipSpace() !== 'more') return 'bad'
    if (words.is('@')) {
      if (this.#routeList() === 'more' && words.is(':')) words.at++
      else {
        this.#route = 'INVALID_ROUTE'
        if (words.done) return 'bad'
      }
      if (words.skipSpace() !== 'more') return 'bad'
    }
    if (!words.is('>')) {
      if (this.#localPart() !== 'more') return 'bad'
      if (words.is('@') && this.#domainOf() !== 'more') return 'bad'
    }
    if (!words.is('>')) return 'bad'
    words.at++
    return words.skipSpace()
  }

  /** `obs-domain-list = "@" domain *("," "@" domain)` */
  #routeList(): Outcome {
    const words = this.#words
    const route: string[] = []
    for (;;) {
      if (words.done) return 'end'
      if (!words.is('@')) break
      if (route.length > 0) route.push(',')
      route.push('@')
      const ended = words.domain(route)
      if (ended !== 'more') return ended
      while (words.skipSpace() === 'more' && words.is(',')) words.at++
    }
    this.#route = route.join('')
    return 'more'
  }

  #localPart(text: string[] = []): Outcome {
    const words = this.#words
    const ended = words.is('"') ? words.quotedString(text) : words.looseDotAtom(text)
    if (ended !== 'bad') this.#mailbox = text.join('')
    return ended
  }

  #domainOf(text: string[] = []): Outcome {
    const ended = this.#words.domain(text)
    if (ended !== 'bad') this.#domain = text.join('')
    return ended
  }

  /** `local-part "@" domain [comment]`: the comment is the name, as people wrote it once. */
  #addrSpec(): Outcome {
    const words = this.#words
    words.comment = ''
    const quoted = words.next === '"'
    const text: string[] = []
    let ended = this.#localPart(text)
    if (ended !== 'more') this.#invalid = true
    let hasDomain = false
    if (ended !== 'end' && words.is('@')) {
      hasDomain = true
      text.length = 0
      const domain = this.#domainOf(text)
      if (domain !== 'more') ended = domain
    }
    if (words.comment !== '') {
      this.#name = words.comment
      return ended
    }
    if (hasDomain) return ended
    // A word without domain: a mailbox when it stands alone, else the beginning of a display name.
    const before = text.join('').length
    text.push(' ')
    words.phrase(text)
    const all = text.join('')
    if (all.length !== before + 1) {
      this.#mailbox = null
      this.#name = all
    } else if (!quoted) this.#domain = ''
    this.#invalid = true
    return 'bad'
  }

  #addMailbox(): void {
    this.found.push({
      name: this.#name,
      route: this.#route,
      mailbox: this.#mailbox ?? 'MISSING_MAILBOX',
      domain: this.#domain || 'MISSING_DOMAIN',
    })
    this.#name = this.#route = this.#mailbox = this.#domain = null
    this.#invalid = false
  }
}
