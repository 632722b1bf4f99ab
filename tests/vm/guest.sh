# To be read by the scripts that run in the virtual machine: the rest of a machine that a Linux program expects.
# KERNEL is set to the directory that kernel.sh has left.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=${TERM:-vt100} XNET_VM=1

# Ends the machine with an exit status, after the last byte of output has left.
leave() {
    stty -F /dev/ttyS0 sane
    printf "\\$(printf %03o "$1")" | dd of=/dev/port bs=1 seek=$((0xf4)) 2>/dev/null
    sleep 5
}

# Runs a test program in its directory, with arguments.
ran=0 failed=0
try() {
    cd "$1" || return
    program=$2
    shift 2
    echo "xnet-vm: $(basename "$program") $*"
    "$program" "$@" || failed=$((failed + 1))
    ran=$((ran + 1))
}

# The closing line, and the end.
finish() {
    echo "xnet-vm: $ran test programs on Linux $(uname -r), $failed failed, $(cut -d. -f1 /proc/uptime) s since boot"
    leave $((failed > 0))
}

stty -F /dev/ttyS0 -onlcr -echo
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
# A container's layer cannot be on an overlay, as the root of this machine is.
export TMPDIR=/dev/shm
# The kernel itself loads modules from there, as on any machine: nobody here has to know which.
mkdir -p /lib/modules
mount --bind "$KERNEL/modules/lib/modules" /lib/modules
# What plugins and runtimes keep is the machine's own, whatever the host has by now.
for kept in /etc/cni /opt/cni /var/lib/cni /var/lib/xnet; do
    mkdir -p $kept
    mount -t tmpfs kept $kept
done
# udev would load the drivers of what is on the bus.
modprobe -a virtio_net virtio_blk
hostname xnet-vm
ip link set lo up
