#!/bin/sh
# Unpacks Debian's firewalld into a directory, without installing it: installed, it would start and filter this machine.
# Its libraries are packages that do nothing by themselves, and are installed. usage: firewalld.sh DIRECTORY
#
# Started from there on a private bus:
#     /usr/bin/python3 DIRECTORY/usr/sbin/firewalld --nofork --nopid --system-config COPY_OF_ETC_FIREWALLD \
#         --default-config DIRECTORY/usr/lib/firewalld
set -eu

dir=$1
test ! -f "$dir/usr/sbin/firewalld" || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { echo "no firewalld: this is not Debian" >&2; exit 0; }
/usr/bin/python3 -c 'import firewall, nftables' 2>/dev/null || {
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-firewall python3-nftables \
        >/dev/null
}
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download firewalld)
dpkg-deb -x "$work"/firewalld_*.deb "$work/root"
rm -rf "$dir"
mkdir -p "$(dirname "$dir")"
mv "$work/root" "$dir"
