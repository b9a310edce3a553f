/** Postfix's configuration in the sandbox: submission, and three MX listeners that differ in what ends DATA for them. */
import type { ProviderPlace } from './provider.ts'

/** Nothing leaves the machine: every domain but the sandbox's bounces at once, without DNS. */
export function postfixMain({ directory, domain, ports, certFile, keyFile }: ProviderPlace): string {
  return `compatibility_level = 3.6
queue_directory = ${directory}/postfix/queue
data_directory = ${directory}/postfix/data
maillog_file = ${directory}/log/postfix-mail
maillog_file_prefixes = ${directory}/log
myhostname = mail.${domain}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
local_transport = error:no local mail
relay_domains =
default_transport = error:5.1.2 this sandbox delivers to ${domain} only
relay_transport = error:5.1.2 this sandbox delivers to ${domain} only
smtp_dns_support_level = disabled
virtual_mailbox_domains = ${domain}
virtual_mailbox_maps = static:ok
virtual_transport = lmtp:inet:127.0.0.1:${ports.lmtp}
smtpd_tls_cert_file = ${certFile}
smtpd_tls_key_file = ${keyFile}
smtpd_tls_security_level = may
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:${ports.sasl}
smtpd_sasl_auth_enable = no
smtpd_tls_auth_only = no
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions =
smtpd_client_connection_count_limit = 0
message_size_limit = 52428800
mailbox_size_limit = 0
smtputf8_enable = yes
smtputf8_autodetect_classes = all
`
}

export function postfixMaster({ ports }: ProviderPlace): string {
  const smtpd = (port: number, ...settings: string[]): string =>
    [`127.0.0.1:${port} inet n - n - - smtpd`, ...settings.map((setting) => `  -o ${setting}`)].join('\n')
  const authenticated = ['smtpd_sasl_auth_enable=yes', 'smtpd_client_restrictions=permit_sasl_authenticated,reject']
  return `${smtpd(ports.mx)}
${smtpd(ports.mxTolerant, 'smtpd_forbid_bare_newline=no', 'smtpd_forbid_unauth_pipelining=no')}
${smtpd(ports.mxStrict, 'smtpd_forbid_bare_newline=yes', 'smtpd_forbid_unauth_pipelining=yes')}
${smtpd(ports.submission, ...authenticated)}
${smtpd(ports.submissions, 'smtpd_tls_wrappermode=yes', ...authenticated)}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
smtp unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`
}
