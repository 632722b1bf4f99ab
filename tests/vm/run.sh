#!/bin/sh
# `make test-vm`: the tests of tests.list in a virtual machine. They are built here and run there, from the same files.
#
#     tests/vm/run.sh [SUITE]           Debian suite of the kernel: bookworm (6.1) unless given, trixie, sid
#     tests/vm/run.sh --shell [SUITE]   a shell there instead
#
# TESTS=word runs only those tests whose names contain the word. The exit status is 0 if all passed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
limit=${XNET_VM_SECONDS:-900}
shell=
[ "${1:-}" != --shell ] || { shell=1; shift; }
suite=${1:-bookworm}

# Without a machine the tests are skipped, which has to be loud, and allowed like any other skip.
skip() {
    reason="no virtual machine: qemu or Debian's kernel is not to be had"
    echo "SKIPPED: $reason ($1)" >&2
    [ -z "$shell" ] || exit 1
    echo "SKIPPED: all of tests/vm/tests.list:" >&2
    grep -v '^#' "$here/tests.list" >&2
    grep -qxF "$reason" "$root/tests/skips.txt" && exit 0
    echo "a skip that tests/skips.txt does not list" >&2
    exit 1
}

for tool in qemu-system-x86_64 busybox modprobe timeout; do
    PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null || skip "there is no $tool"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# begin GROUP SUITE: the beginning of a group's job, for a machine with the kernel of a suite.
begin() {
    kernel=$("$here/kernel.sh" "$2") || skip "no kernel of $2"
    echo "$kernel" >"$work/kernel.$1"
    cat >"$work/job.$1" <<JOB
KERNEL='$kernel'
. '$here/guest.sh'
export XNET_BIN_DIR='${XNET_BIN_DIR:-$root/bin}' XNET_NEWER_GO_DIR='${XNET_NEWER_GO_DIR:-}'
export INSTA_UPDATE=no RUST_TEST_THREADS=2 RUST_BACKTRACE='${RUST_BACKTRACE:-0}'
JOB
}

begin 1 "$suite"
if [ -n "$shell" ]; then
    echo "echo \"Linux \$(uname -r); changes stay in memory; leave with exit, or kill the machine with Ctrl-A X\"
        cd '$root' && stty -F /dev/ttyS0 sane && setsid -c bash -i </dev/ttyS0 >/dev/ttyS0 2>&1
        leave 0" >>"$work/job.1"
    "$here/boot.sh" "$kernel" "$work/job.1"
    exit
fi

# One line a test binary: its directory, itself, its arguments. A job for each group.
groups=1
while read -r package target arguments; do
    case $package in
    '#'*) continue ;;
    '') groups=$((groups + 1)) && begin $groups "$suite" && continue ;;
    # Who asks for a kernel gets that.
    kernel) [ "$suite" != bookworm ] || begin $groups "$target"; continue ;;
    esac
    built=$(cd "$root" && ${CARGO:-cargo} test -q -p "$package" "$target" --no-run --message-format=json) || exit 1
    # Of all that was built, the program whose profile is that of tests.
    built=$(echo "$built" | grep '"overflow_checks":[a-z]*,"test":true' | grep '"executable":"' | tail -n 1)
    binary=$(echo "$built" | sed 's/.*"executable":"\([^"]*\)".*/\1/')
    directory=$(echo "$built" | sed 's/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*/\1/')
    echo "try '$directory' '$binary' $arguments ${TESTS:-}" >>"$work/job.$groups"
done <"$here/tests.list"

# The groups at the same time, each in a machine of its own; what they say one after the other.
begun=$(date +%s)
pids=
trap 'kill $pids 2>/dev/null; exit 1' HUP INT TERM
for group in $(seq $groups); do
    echo finish >>"$work/job.$group"
    "$here/boot.sh" "$(cat "$work/kernel.$group")" "$work/job.$group" "$limit" >"$work/out.$group" 2>&1 &
    pids="$pids $!"
done
status=0 group=0
for pid in $pids; do
    group=$((group + 1))
    ended=0
    wait "$pid" || ended=$?
    cat "$work/out.$group"
    [ $ended -eq 0 ] || status=$ended
done
echo "xnet-vm: $groups machines, $(($(date +%s) - begun)) s in all, exit status $status"
exit $status
