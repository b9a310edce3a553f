/** Dovecot's configuration in the sandbox (2.3): IMAP, LMTP, submission and the SASL service for Postfix. */
import type { ProviderPlace } from './provider.ts'

export function dovecotConfiguration({
  directory,
  domain,
  ports,
  certFile,
  keyFile,
  passwdFile,
}: ProviderPlace): string {
  return `base_dir = ${directory}/run
state_dir = ${directory}/state
instance_name = vesmail-sandbox
log_path = ${directory}/log/dovecot
listen = 127.0.0.1
protocols = imap lmtp submission
hostname = mail.${domain}
postmaster_address = postmaster@${domain}
ssl = yes
ssl_cert = <${certFile}
ssl_key = <${keyFile}
ssl_dh =
disable_plaintext_auth = no
auth_mechanisms = plain login scram-sha-256
first_valid_uid = 1
default_process_limit = 400
default_client_limit = 1000
mail_max_userip_connections = 1000
mail_location = maildir:~/Maildir
mail_attribute_dict = file:%h/dovecot-attributes
protocol imap {
  # Offers COMPRESS=DEFLATE, which a proxy has to hide.
  mail_plugins = imap_zlib
  imap_metadata = yes
  imap_urlauth_host = 127.0.0.1
}
namespace inbox {
  inbox = yes
  separator = /
  mailbox Drafts {
    auto = subscribe
    special_use = \\Drafts
  }
  mailbox Sent {
    auto = subscribe
    special_use = \\Sent
  }
  mailbox Trash {
    auto = subscribe
    special_use = \\Trash
  }
}
passdb {
  driver = passwd-file
  args = ${passwdFile}
}
userdb {
  driver = passwd-file
  args = ${passwdFile}
}
service imap-login {
  process_min_avail = 1
  inet_listener imap {
    port = ${ports.imap}
  }
  inet_listener imaps {
    port = ${ports.imaps}
    ssl = yes
  }
}
service lmtp {
  inet_listener lmtp {
    port = ${ports.lmtp}
  }
}
service submission-login {
  inet_listener submission {
    port = ${ports.dovecotSubmission}
  }
}
submission_relay_host = 127.0.0.1
submission_relay_port = ${ports.mx}
submission_relay_trusted = no
service auth {
  inet_listener {
    port = ${ports.sasl}
  }
}
`
}
