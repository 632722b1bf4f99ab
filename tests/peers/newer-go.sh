#!/bin/sh
# Unpacks the Go suite of Debian's unstable into a directory, without installing it: that of stable is older than the
# suite's nftables back ends. usage: newer-go.sh DIRECTORY
#
# The package comes from the mirror that the machine uses anyway, by apt, which checks its signature; apt's own lists and
# sources stay as they are. Whoever can do without it is not stopped: what goes wrong is said, and the directory stays
# away.
set -eu

dir=$1
test ! -x "$dir/portmap" || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

give_up() {
    echo "no newer Go suite: $1; what is compared with its nftables back ends is left out" >&2
    exit 0
}

# The mirror's address, from the lists that the machine has.
mirror() {
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Identifier: Packages' |
        sed -n '/security/d; s/^Debian //p' | head -n 1
}

# apt with sources, lists and cache of its own, and no lists but that of packages.
private_apt() {
    apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "this is not Debian"
test -n "$(mirror)" || apt-get -qq update || give_up "apt-get update has failed"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
test -r $keyring || give_up "$keyring is missing"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=$keyring] $(mirror) unstable main" >"$work/sources.list"

(private_apt update && cd "$work" && private_apt download containernetworking-plugins) ||
    give_up "it can not be downloaded"
dpkg-deb -x "$work"/containernetworking-plugins_*.deb "$work/root" || give_up "it can not be unpacked"
plugins=$work/root/usr/lib/cni
CNI_COMMAND=VERSION "$plugins/portmap" </dev/null >/dev/null || give_up "it does not run here"
dpkg-deb -f "$work"/containernetworking-plugins_*.deb Version >"$plugins/VERSION"

rm -rf "$dir"
mkdir -p "$(dirname "$dir")"
mv "$plugins" "$dir"
