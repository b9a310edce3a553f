/**
 * Everything that the viewer says, by language. English is complete and the measure of the others: a language that lacks
 * a text does not compile. `{name}` is filled in.
 */
import type { Failure } from '../reader.ts'

const en = {
  title: 'Encrypted message',
  intro: 'Somebody sent you an encrypted message. It is opened here, in your browser: this server cannot read it.',
  noMessage: 'Open the link in the mail that told you of an encrypted message: it says which message you want to read.',
  email: 'Your e-mail address',
  veskey: 'Your VESkey',
  veskeyHint: 'The password of your vault. It does not leave this page.',
  show: 'Show it',
  open: 'Open the message',
  opening: 'Unlocking your vault …',
  received: 'Opening the message … {octets}',
  receivedOf: 'Opening the message … {octets} of {total}',
  opened: 'The message is open.',
  noVault: 'You have no vault yet?',
  noVaultText:
    'A vault holds the keys to your encrypted mail. To make sure that nobody else reads it, we send a link to your address; it is valid for an hour.',
  sendLink: 'Send me the link',
  sending: 'Sending …',
  linkSent:
    'If {email} has no vault yet, a mail with a link is on its way to it. Open the link on this device, and you can read the message at once.',
  setUpTitle: 'Set up your vault',
  setUpText:
    'A vault for {email} is made in your browser, with keys that nobody else has. You then get two keys to keep.',
  setUp: 'Set up my vault',
  settingUp: 'Making your keys …',
  madeTitle: 'Your vault is ready',
  madeText:
    'Keep these two now. They are shown once and stored nowhere; without them nobody can open your mail, not even we.',
  yourVeskey: 'VESkey: opens your mail, here and in your mail program',
  recoveryKey: 'Recovery key: for the day that you have lost the VESkey',
  copy: 'Copy',
  copyVeskey: 'Copy the VESkey',
  copyRecovery: 'Copy the recovery key',
  copied: 'Copied.',
  saveKeys: 'Save both as a file',
  kept: 'I have kept both',
  goOn: 'Open the message',
  done: 'Now open the link in the mail that told you of an encrypted message.',
  from: 'From',
  to: 'To',
  cc: 'Cc',
  date: 'Date',
  noSubject: '(no subject)',
  attachments: 'Attachments',
  save: 'Save',
  saveNamed: 'Save {name}',
  saveAll: 'Save all',
  incomplete: 'incomplete, cannot be saved',
  nested: 'Forwarded message: {subject}',
  messageText: 'Text of the message',
  height: 'Height of the text',
  heightNow: '{percent} % of the window',
  asText: 'Show as plain text',
  asHtml: 'Show as formatted',
  remoteText: 'Images from the internet are not shown. Loading them tells the sender that you read the message.',
  remote: 'Show images from the internet',
  empty: 'This message has no text.',
  cut: 'The copy kept here ends too early: long messages are cut. What you see is genuine, the rest is in the mail itself.',
  taken: 'A part of this message, such as an attachment, was taken out on its way. The rest is genuine.',
  unsealed:
    'A part of this message was not encrypted by the sender: it was put in on its way, by a mailing list or by anybody else. The rest is genuine.',
  unsealedPart: 'Not encrypted by the sender: put in on the way.',
  around:
    'Something around the encrypted parts of this message was changed on its way. The parts themselves are genuine.',
  cutHere: '(The copy ends here.)',
  close: 'Close the message',
  closed: 'The message is closed, and gone from this page.',
  tryAgain: 'Try again',
  detail: 'For whoever helps you: {detail}',
  octets: '{n} bytes',
  kilooctets: '{n} KB',
  megaoctets: '{n} MB',
}

const failures: Readonly<Record<Failure, string>> = {
  'wrong-password':
    'This address and this VESkey do not belong together. Check both; the VESkey is not the password of your mailbox.',
  locked: 'This account is locked. Ask the administrator of your VES accounts.',
  'no-such-message': 'There is no such message. The link may be incomplete: open it from the mail itself.',
  'not-for-you': 'This message was not sent to this address. If it came to another address of yours, use that one.',
  'not-exchanged':
    'The sender’s program has not yet handed you the key to this message: it does so the next time the sender uses it. Try again in some hours, or ask the sender to write to you again.',
  expired:
    'This message is no longer kept here. It is still in your mailbox: read it there with a mail program that knows VESmail, or ask the sender to send it again.',
  altered:
    'This message was altered or damaged on its way, so it is not shown: nobody can say what of it is genuine. Ask the sender to send it again.',
  'not-sealed': 'What is kept here is not an encrypted message, so it is not shown.',
  unsupported: 'This message, or your vault, uses a kind of key that this page does not know.',
  unreachable: 'The server cannot be reached. Check your connection and try again.',
  busy: 'The server has too much to do at the moment. Try again in a few minutes.',
  'bad-link': 'This link was used already, or is older than an hour. Ask for a new one.',
  failed: 'Something went wrong. Try again; if it stays so, tell the administrator.',
}

export type Language = { readonly texts: Readonly<Record<keyof typeof en, string>>; readonly failures: typeof failures }

const LANGUAGES: Readonly<Record<string, Language>> = { en: { texts: en, failures } }

function chosen(): Language {
  for (const tag of navigator.languages) {
    const found = LANGUAGES[tag.toLowerCase()] ?? LANGUAGES[tag.split('-')[0]!.toLowerCase()]
    if (found !== undefined) return found
  }
  return LANGUAGES.en!
}

export function say(name: keyof typeof en, values: Readonly<Record<string, string>> = {}): string {
  return chosen().texts[name].replace(/\{([a-z]+)\}/gi, (whole, key: string) => values[key] ?? whole)
}

export function sayFailure(failure: Failure): string {
  return chosen().failures[failure]
}

/** In the units that people know from their files. */
export function sayOctets(octets: number): string {
  const number = (value: number, digits: number): string =>
    new Intl.NumberFormat(navigator.language, { maximumFractionDigits: digits }).format(value)
  if (octets < 1000) return say('octets', { n: number(octets, 0) })
  if (octets < 1_000_000) return say('kilooctets', { n: number(octets / 1000, 0) })
  return say('megaoctets', { n: number(octets / 1_000_000, 1) })
}
