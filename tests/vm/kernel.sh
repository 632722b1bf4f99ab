#!/bin/sh
# Puts the stock kernel of a Debian suite into the cache and prints where: a directory with `vmlinuz` and `modules`.
#
#     tests/vm/kernel.sh bookworm
#
# The package is downloaded by apt, with state and sources of its own, so that it is the same on any machine, its
# signature is checked, and nothing of the machine's own apt changes. It is unpacked, never installed. What is in the
# cache is used as it is; remove the directory to get a newer one.
set -eu

suite=$1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/xnet-vm
mirror=${XNET_VM_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
kernel=$cache/$suite

if [ -e "$kernel/vmlinuz" ]; then
    echo "$kernel"
    exit
fi

for tool in apt-get dpkg-deb depmod; do
    PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null || { echo "$tool is not installed" >&2; exit 1; }
done
[ -r $keyring ] || { echo "$keyring is missing: install debian-archive-keyring" >&2; exit 1; }

mkdir -p "$cache"
work=$(mktemp -d "$cache/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root/lib/modules"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"

# apt drops its privileges for a user of its own, who may not look into this directory.
apt() {
    apt-get -qq -o Dir::State="$work" -o Dir::State::status=/dev/null -o Dir::State::lists="$work/lists" \
        -o Dir::Cache="$work" -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::main=/dev/null -o Dir::Etc::parts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

echo "getting the kernel of Debian $suite (once, some 100 MB) ..." >&2
apt update >&2
cd "$work"
# The names contain the version, so they are found by what linux-image-amd64 depends on. Newer suites have the modules
# in a package of their own.
packages=$(apt -s --no-install-recommends install linux-image-amd64 2>/dev/null |
    sed -n 's/^Inst \(linux-[a-z]*-[0-9][^ ]*\) .*/\1/p')
[ -n "$packages" ] || { echo "Debian $suite has no linux-image-amd64" >&2; exit 1; }
# shellcheck disable=SC2086 # a list of names
apt download $packages >&2

# Drivers of hardware that no virtual machine has are most of it.
for package in "$work"/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$work/root" --exclude='*/drivers/gpu' --exclude='*/drivers/media' \
        --exclude='*/drivers/net/ethernet' --exclude='*/drivers/net/wireless' --exclude='*/drivers/scsi' \
        --exclude='*/drivers/infiniband' --exclude='*/sound'
done
modules=$(echo "$work"/root/lib/modules/* "$work"/root/usr/lib/modules/* | tr ' ' '\n' | grep -v '\*')
version=$(basename "$modules")

mkdir -p "$work/kernel/modules/lib/modules"
mv "$work/root/boot/vmlinuz-$version" "$work/kernel/vmlinuz" 2>/dev/null || mv "$modules/vmlinuz" "$work/kernel/vmlinuz"
mv "$modules" "$work/kernel/modules/lib/modules/"
PATH=$PATH:/usr/sbin:/sbin depmod -b "$work/kernel/modules" "$version"
echo "$version" >"$work/kernel/version"
# Whole or not at all; whoever was quicker has got the same.
mv -T "$work/kernel" "$kernel" 2>/dev/null || [ -e "$kernel/vmlinuz" ]
echo "$kernel"
