#!/bin/sh
# A program for another processor, as the article runs it with qemu-user-static.
#
# The steps are the article's own, with another command's name. Corrected:
#  * it registers the emulator by a privileged container, for the whole host and everybody on it, until the next reboot.
#    A container of xnet's has a register of its own (binfmt_misc in its user namespace), so nothing of the host's changes,
#    nothing is to be repeated, and nothing to be taken back;
#  * it puts the emulator into the image. With the flag F the kernel opens it at registration, and the image needs none.
#
# It needs root, `xnet` and qemu-user-static on a host that is not aarch64 itself, and leaves nothing. OPTIONS are for
# `xnet run`.
set -eu
say() { echo "== $*"; }
for need in "xnet run --help | grep -q platform" "command -v qemu-aarch64-static" "[ $(uname -m) != aarch64 ]"; do
    if ! sh -c "$need" >/dev/null 2>&1; then
        echo "SKIPPED: this needs: $need"
        exit 0
    fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/bin"
host() { cat /proc/sys/fs/binfmt_misc/qemu-aarch64 2>/dev/null || echo none; }
before=$(host)

say "1. an image of one program for aarch64: it prints the machine's name, and is 168 bytes"
{
    printf '\177\105\114\106\2\1\1\0\0\0\0\0\0\0\0\0\2\0\267\0\1\0\0\0\170\0\100\0\0\0\0\0\100\0\0\0\0\0\0\0\0\0'
    printf '\0\0\0\0\0\0\0\0\0\0\100\000\70\0\1\0\0\0\0\0\0\0\1\0\0\0\5\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0'
    printf '\0\0\100\0\0\0\0\0\250\0\0\0\0\0\0\0\250\0\0\0\0\0\0\0\0\20\0\0\0\0\0\0\377\203\6\321\340\3\0\221\10'
    printf '\24\200\322\1\0\0\324\341\23\4\221\342\0\200\322\40\0\200\322\10\10\200\322\1\0\0\324\0\0\200\322'
    printf '\250\13\200\322\1\0\0\324'
} >"$work/root/bin/uname"
chmod +x "$work/root/bin/uname"
dd if="$work/root/bin/uname" bs=1 skip=18 count=1 2>/dev/null | od -An -tu1 | grep 183

say "2. without an emulator the kernel does not know it"
status=0
xnet run --rm --net=none --rootfs "$work/root" ${OPTIONS:-} -- /bin/uname || status=$?
[ "$status" -eq 126 ]

say "3. with one it runs, and believes itself on an arm64 machine"
[ "$(xnet run --rm --net=none --rootfs "$work/root" --platform linux/arm64 ${OPTIONS:-} -- /bin/uname)" = aarch64 ]

say "4. the register as the container has it"
xnet run --rm --net=none --platform linux/arm64 ${OPTIONS:-} -- cat /proc/sys/fs/binfmt_misc/qemu-aarch64 | tee "$work/entry"
for line in enabled interpreter 'flags: .*F' 'offset 0' magic mask; do grep -q "^$line" "$work/entry"; done

say "5. the host's is as it was: ${before%% *}"
[ "$(host)" = "$before" ]
say done
