/**
 * Every configuration option (daemon.md §1), by its dotted name: `{"tls": {"level": "high"}}` sets `tls.level`.
 * Not here: `server`, `host` and `port` of a daemon, which say where it listens (`config-file.ts`).
 */
import { z } from 'zod'
import { address, count, factor, flag, list, octets, oneOf, seconds, shaped, text, textOr } from './option.ts'

const KiB = 1024
const MiB = 1024 * KiB

export const OPTIONS = {
  // Mail
  acl: text({
    scope: 'host',
    doc: 'Vault item (URI, or name in the domain): only users it is shared with may use the proxy.',
  }),
  banner: list({ doc: 'Files with banner parts; absent: vesmail-banner-{txt,html} in /etc/vesmail, else built in.' }),
  manifest: text({ doc: 'VES manifest whose matching app section fills {$app.…} in banners.' }),
  subject: textOr('<VESmail encrypted message>', { doc: 'Plaintext Subject of encrypted mail.' }),
  audit: list({
    doc: 'Accounts or vault URIs that every message key is shared with; if one is missing, encryption fails.',
  }),
  bcc: list({ doc: '(smtp) Blind copies of all mail.' }),
  'bcc-plain': flag(false, { doc: '(smtp) Blind copies of mail that goes out in plaintext, too.' }),
  sizes: oneOf(['auto', 'exact', 'estimate'], 'auto', { doc: 'How message sizes are told before a message was read.' }),
  'size-budget': octets({ default: 8 * MiB, doc: 'Octets one command may read at the provider to learn sizes.' }),
  maxbuf: octets({ default: MiB, min: 4 * KiB, max: 1024 * MiB, doc: 'Largest literal held in memory per session.' }),
  overrides: oneOf(['deny', 'allow', 'ignore', 'auto'], 'auto', {
    doc: 'Whether profiles may name an override URL; auto: ignore if acl is set, else allow.',
  }),
  'veskey-dir': textOr('/etc/vesmail/veskeys/', { scope: 'process', doc: 'VESkeys for the command line.' }),

  // TLS towards clients
  'tls.cert': text({ doc: 'Certificate file, PEM, chain included.' }),
  'tls.pkey': text({ doc: 'Private key file, PEM.' }),
  'tls.level': oneOf(['none', 'optional', 'unsecure', 'medium', 'high'], 'high', {
    doc: 'What clients need: none = no TLS, optional = TLS may be used, others = TLS before any login.',
  }),
  'tls.persist': flag(false, { scope: 'listener', doc: 'TLS from the first octet (only in a daemons[] entry).' }),
  'tls.loopback': flag(false, {
    scope: 'listener',
    doc: 'Clients on loopback addresses may log in without TLS; not where a relay on this machine brings others.',
  }),
  'tls.min': oneOf(['1.2', '1.3'], '1.2', { scope: 'listener', doc: 'Oldest TLS version accepted from clients.' }),
  caBundle: text({ scope: 'listener', doc: 'CA file for outgoing TLS, in place of the system’s.' }),
  'sni.prefix': text({ scope: 'listener', doc: 'Per-host configuration: file prefix + host + suffix.' }),
  'sni.suffix': text({ scope: 'listener', doc: 'See sni.prefix.' }),
  'sni.require': flag(false, { scope: 'listener', doc: 'Refuse hosts that have no file.' }),
  'sni.cache': count({ default: 1000, min: 1, scope: 'process', doc: 'Host files kept in memory at a time.' }),
  'oauth-key': list({
    scope: 'process',
    doc: 'Files of the OAuth key; the first is published and made if absent, all decrypt.',
  }),
  'proxy-protocol.from': list({
    scope: 'listener',
    doc: 'Networks (CIDR) of load balancers: the PROXY header is required from them, and read from nobody else.',
  }),

  // HTTP side
  'now.dir': text({ doc: 'Spool directory of the viewer.' }),
  'now.url': text({ doc: 'Address of the viewer, before the message id.' }),
  'now.maxsize': shaped(z.int(), 'a whole number of octets', MiB, {
    doc: 'Spooled messages are cut here; 0 or less: uncut.',
  }),
  'now.manifest': shaped<string | Readonly<Record<string, unknown>> | null>(
    z.union([z.string().min(1), z.record(z.string(), z.unknown())]).nullable(),
    'a file name, JSON in a string, or an object',
    null,
    { scope: 'listener', doc: 'What GET /ves.json answers.' },
  ),
  'now.headers': list({ doc: 'Extra response headers, each "Name: value".' }),
  'now.websock': shaped<Readonly<Record<string, unknown>> | null>(
    z.record(z.string(), z.unknown()).nullable(),
    'an object of host:port by key',
    null,
    { scope: 'listener', doc: 'Proxies that WebSocket tunnels lead to.' },
  ),
  'now.e2e': text({ doc: 'Where /e2e/… redirects to.' }),
  'now.origins': list({ doc: 'Origins whose pages may use the HTTP side.' }),
  'now.s3.bucket': text({ doc: 'Bucket of an S3-compatible store that takes the place of now.dir.' }),
  'now.s3.endpoint': text({ doc: 'Its address, e.g. https://s3.example.com; absent: Amazon’s in that region.' }),
  'now.s3.region': textOr('us-east-1', { doc: 'Its region.' }),
  'now.s3.prefix': text({ doc: 'Before each object’s name, e.g. spool/.' }),
  'now.s3.credentials': text({
    doc: 'File with {"accessKeyId": …, "secretAccessKey": …}; readable by its owner alone.',
  }),
  'now.s3.caBundle': text({ doc: 'CA file for the store, in place of the system’s.' }),
  'now.retention.days': factor({ default: 0, doc: 'Spooled messages older than this are deleted; 0: never.' }),
  'now.retention.bytes': octets({
    default: 0,
    doc: 'The oldest spooled messages are deleted beyond this; 0: no limit.',
  }),
  'now.uploads.maxsize': octets({ default: 64 * MiB, min: 1, doc: 'Largest message that a relay may upload (PUT).' }),
  'now.uploads.perMinute': count({
    default: 60,
    doc: 'Uploads per creator and minute, over all workers; 0: no limit.',
  }),
  'now.uploads.messages': count({
    default: 10_000,
    doc: 'No upload is taken while so many messages of its creator are spooled; 0: no limit.',
  }),
  'now.uploads.bytes': octets({
    default: 1024 * MiB,
    doc: 'Nor one beyond which they would be more octets than this; 0: no limit.',
  }),

  // Protection
  'abuse-sense': factor({
    default: 0,
    max: 1000,
    scope: 'listener',
    doc: 'Weight of abuse events; 0 = protection off.',
  }),
  'limits.sessions': count({
    default: 20_000,
    min: 1,
    scope: 'process',
    doc: 'Open sessions per worker, and as many HTTP connections; more are told to come later.',
  }),
  'limits.sessionsPerAccount': count({ default: 100, min: 1, doc: 'Open sessions per account, over all workers.' }),
  'limits.sessionsPerAddress': count({
    default: 1000,
    min: 1,
    scope: 'listener',
    doc: 'Open sessions per client address (IPv6: /64), over all workers.',
  }),
  'limits.messageOctets': octets({
    default: 0,
    doc: '(smtp) Largest message taken, before it is sealed; 0: no limit.',
  }),
  'limits.spillOctets': octets({
    default: 1536 * MiB,
    scope: 'listener',
    doc: '(imap) What one session’s APPENDs beyond maxbuf may take, sealed, in the temporary folder; more goes to the provider padded.',
  }),
  'limits.recipients': count({ default: 1000, min: 1, doc: '(smtp) Recipients per message.' }),
  'limits.waiting': count({
    default: 1000,
    min: 1,
    scope: 'process',
    doc: 'Connections kept waiting while no worker lives.',
  }),
  'limits.drainSeconds': seconds({
    default: 300,
    scope: 'listener',
    doc: 'Time open sessions get to finish after SIGHUP or SIGINT; in the imap or smtp block for that protocol alone.',
  }),
  'limits.drainWindowSeconds': seconds({
    default: 30,
    scope: 'listener',
    doc: 'Sessions at rest are asked to go over this time, not all at once.',
  }),
  'limits.connectSeconds': seconds({
    default: 20,
    min: 0.1,
    max: 300,
    scope: 'listener',
    doc: 'For a provider’s name, and again for its connection.',
  }),

  'limits.providerNetworks': list({
    scope: 'listener',
    doc: 'Private and loopback networks in which providers may be, e.g. 10.0.0.0/8; public addresses always may.',
  }),

  // Logs
  log: text({ scope: 'process', doc: 'Log file, reopened at SIGHUP; absent: stderr.' }),
  'log-format': oneOf(['json', 'classic'], 'json', { scope: 'process', doc: 'classic: the lines of the C program.' }),
  debug: shaped<boolean | number>(z.union([z.boolean(), z.int().min(0).max(9)]), 'true, false or a level', false, {
    scope: 'listener',
    doc: 'Log debug lines.',
  }),

  // Process
  'workers.count': count({
    default: 0,
    max: 256,
    scope: 'process',
    doc: 'Workers under a guard; 0: none, one process does all. -G beats it.',
  }),
  'workers.startSeconds': seconds({
    default: 60,
    min: 1,
    scope: 'process',
    doc: 'A worker that is not ready by then is given up.',
  }),
  'workers.ackSeconds': seconds({
    default: 10,
    min: 0.1,
    scope: 'process',
    doc: 'A worker that does not take a connection by then is killed.',
  }),
  'workers.hangSeconds': seconds({
    default: 15,
    // Workers are asked every second: below, a healthy one on a busy machine would be killed.
    min: 3,
    scope: 'process',
    doc: 'A worker whose event loop stands still this long is killed.',
  }),
  'pool.threads': count({
    default: 0,
    max: 64,
    scope: 'process',
    doc: 'Threads per worker; 0: as the machine has cores, shared by the workers.',
  }),
  'pool.queue': count({
    default: 64,
    min: 1,
    max: 10_000,
    scope: 'process',
    doc: 'When so many bodies wait for a thread, a session that has one there reads no more until it is done.',
  }),
  'admin.listen': address({ scope: 'process', doc: 'Address of /healthz, /readyz and /metrics; absent: none.' }),
  state: text({
    scope: 'process',
    doc: 'Directory of what we keep: own certificate, state file. Default: /var/lib/vesmail.',
  }),
  redis: text({ scope: 'process', doc: 'redis:// URL of counters shared by several machines.' }),

  // Keys
  'ves.api': textOr('https://api.ves.host/v1/', { scope: 'process', doc: 'Base URL of the key repository.' }),
  'ves.caBundle': text({ scope: 'process', doc: 'CA file for the key repository.' }),
  'ves.domain': textOr('vesmail', { scope: 'process', doc: 'Domain of vaults and items.' }),
  'ves.newKeys': shaped<'post-quantum' | 'compatible' | null>(
    z.enum(['post-quantum', 'compatible']).nullable(),
    'one of post-quantum, compatible',
    null,
    {
      scope: 'process',
      doc: 'Algorithm of new keys; default: compatible with the hosted service, post-quantum with another.',
    },
  ),
  'ves.connections': count({
    default: 16,
    min: 1,
    max: 1000,
    scope: 'process',
    doc: 'Connections to the repository per worker.',
  }),
  'ves.connectSeconds': seconds({ default: 5, min: 0.1, scope: 'process', doc: 'For a connection to the repository.' }),
  'ves.requestSeconds': seconds({ default: 15, min: 0.1, scope: 'process', doc: 'For a request to the repository.' }),
  'ves.recipientCacheEntries': count({
    default: 10_000,
    scope: 'process',
    doc: 'Public keys of recipients kept per worker.',
  }),
  'ves.recipientCacheSeconds': seconds({ default: 300, scope: 'process', doc: 'How long they are believed.' }),
  'ves.messageKeyCacheEntries': count({
    default: 1000,
    scope: 'process',
    doc: 'Opened message keys kept per session.',
  }),
  'repository.listen': address({ scope: 'process', doc: 'Runs the embedded key repository at this address.' }),
  'repository.data': text({ scope: 'process', doc: 'Directory of the embedded repository.' }),
  'repository.config': text({
    scope: 'process',
    doc: 'File with the embedded repository’s settings: limits, mail (docs/repository.md).',
  }),
  'repository.store': oneOf(['sqlite', 'postgresql'], 'sqlite', {
    scope: 'process',
    doc: 'Where the embedded repository keeps its data.',
  }),
  'repository.url': text({
    scope: 'process',
    doc: 'PostgreSQL connection URL, without a password: one that has it belongs into repository.config, as database.',
  }),
  'repository.domains': list({ scope: 'process', doc: 'Domains that are served besides vesmail, demo and x-….' }),
  'repository.origins': list({ scope: 'process', doc: 'Origins whose pages may call the repository.' }),
} as const

export type OptionName = keyof typeof OPTIONS

/** All options of one listener or host, merged and checked; frozen. */
export type Config = { readonly [K in OptionName]: (typeof OPTIONS)[K]['default'] }

export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[]

/** Other spellings: of the C program, and short forms of blocks with one main key. */
export const ALIASES: Readonly<Record<string, OptionName>> = {
  cert: 'tls.cert',
  pkey: 'tls.pkey',
  'now-url': 'now.url',
  'now-dir': 'now.dir',
  'now-manifest': 'now.manifest',
  workers: 'workers.count',
  'proxy-protocol': 'proxy-protocol.from',
  admin: 'admin.listen',
}

/** A configuration that says nothing. */
export const DEFAULTS: Config = Object.freeze(
  Object.fromEntries(OPTION_NAMES.map((name) => [name, OPTIONS[name].default])),
) as Config
