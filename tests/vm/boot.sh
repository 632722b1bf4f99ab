#!/bin/sh
# Boots a kernel under qemu and has a shell script run there, as root and as process 1, with the files of the host
# around it and a layer of memory above them. Prints what the script prints; the exit status is the script's.
#
#     tests/vm/boot.sh KERNEL SCRIPT SECONDS
#
# KERNEL is a directory as kernel.sh leaves it. SCRIPT starts with the machine barely set up: see guest.sh, which it
# should read first. After SECONDS the machine is killed and the status is 124; without them it is interactive.
#
# Plain emulation: it runs anywhere, also where a virtual machine runs already, and is the same everywhere. XNET_VM_ACCEL=kvm is
# faster where it works.
set -eu

kernel=$1 script=$2 seconds=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$kernel/version")
PATH=$PATH:/usr/sbin:/sbin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# The initramfs: busybox, what it takes to reach the host's files, and the script.
mkdir -p "$work/root/bin" "$work/root/modules"
cp "$(command -v busybox)" "$work/root/bin/busybox"
cp "$here/init" "$work/root/init"
cp "$script" "$work/root/job"
for module in virtio_pci 9pnet_virtio 9p overlay; do
    modprobe -d "$kernel/modules" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r file; do
    name=$(basename "$file" .xz)
    case $file in
    *.xz) xz -dc "$file" >"$work/root/modules/$name" ;;
    *) cp "$file" "$work/root/modules/" ;;
    esac
    echo "$name" >>"$work/root/modules.order"
done
(cd "$work/root" && find . | busybox cpio -o -H newc 2>/dev/null >"$work/initramfs")

# A disk with nothing on it, for what limits its use.
truncate -s 16M "$work/disk"

# The kernel says nothing unless it panics, and then the machine ends. One processor, and a plain one: a second costs half
# as much again for the same work, and what programs do with vectors is slow to emulate. Two network cards, wired to each
# other and to nothing else.
machine() {
    exec "$@" -display none -nodefaults -no-user-config -no-reboot \
        -machine q35 -accel "${XNET_VM_ACCEL:-tcg,thread=multi}" -cpu qemu64 -smp 1 -m 1536 \
        -kernel "$kernel/vmlinuz" -initrd "$work/initramfs" \
        -append "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off nokaslr cryptomgr.notests \
random.trust_cpu=on audit=0 selinux=0 apparmor=0 tsc=reliable clocksource=tsc cgroup_no_v1=all" \
        -drive "if=none,id=disk,format=raw,file=$work/disk" -device virtio-blk-pci,drive=disk \
        -netdev hubport,id=card0,hubid=0 -device virtio-net-pci,netdev=card0,mac=52:54:00:00:00:01,romfile= \
        -netdev hubport,id=card1,hubid=0 -device virtio-net-pci,netdev=card1,mac=52:54:00:00:00:02,romfile= \
        -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap" \
        -device isa-debug-exit,iobase=0xf4,iosize=0x04
}

status=0
if [ -n "$seconds" ]; then
    # In the background, because a shell that waits for a program hears no signal.
    machine timeout --foreground -k 5 "$seconds" qemu-system-x86_64 -serial stdio -monitor none </dev/null &
    trap 'kill $! 2>/dev/null; exit 1' HUP INT TERM
    wait $! || status=$?
else
    (machine qemu-system-x86_64 -serial mon:stdio) || status=$?
fi

# That device ends qemu with twice the number written to it plus one; any other end is none that was meant.
case $status in
124 | 137) echo "xnet-vm: killed after $seconds seconds" >&2; exit 124 ;;
*[13579]) exit $((status / 2)) ;;
*) echo "xnet-vm: the machine has died (qemu's status: $status)" >&2; exit 125 ;;
esac
