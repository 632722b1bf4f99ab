#!/bin/sh
# Processes, names and queues of a container, from inside and from the host, as the articles show them.
#
# The steps are the articles' own, with another command's name. Corrected:
#  * `unshare --pid --fork` alone still lists the host's processes, which one article takes for a failure of the
#    namespace. It is /proc that is still the host's: `--mount-proc` mounts one that belongs to the namespace;
#  * one article reads the numbers of the container's processes by `ps | grep`, where anybody's `grep` matches as well.
#    The kernel tells both numbers of a process, in the line NSpid of its status;
#  * `ipcs` is said to show nothing in a new container because none has been made. That is no proof: here both sides make
#    a queue first, and then don't see the other's.
#
# It needs root, `xnet`, procps and util-linux, and leaves nothing. OPTIONS are for `xnet run`.
set -eu
say() { echo "== $*"; }
not() { if "$@"; then exit 1; fi; }
work=$(mktemp -d)
clean() {
    [ -z "${id:-}" ] || xnet rm -f "$id" >/dev/null
    [ -z "${queue:-}" ] || ipcrm -q "$queue"
    rm -rf "$work"
}
trap clean EXIT

say "1. a command in a container is process 1; so is another one's at the same time"
[ "$(xnet run --rm --net=none ${OPTIONS:-} -- sh -c 'echo $$')" = 1 ]
id=$(xnet run -d --net=none ${OPTIONS:-} -- sleep 1000)
[ "$(xnet run --rm --net=none ${OPTIONS:-} -- sh -c 'echo $$')" = 1 ]
[ "$(xnet exec "$id" cat /proc/1/comm)" = sleep ]

say "2. the host has another number for it, and knows both"
pid=$(xnet inspect -f '{{.State.Pid}}' "$id")
grep NSpid "/proc/$pid/status"
[ "$(awk '/^NSpid/ {print $2, $NF}' "/proc/$pid/status")" = "$pid 1" ]

say "3. ps inside lists the container's own, ps on the host all"
xnet exec "$id" ps -eo pid,ppid,args | tee "$work/inside"
[ "$(wc -l <"$work/inside")" -eq 3 ] # the heading, sleep, ps
ps -o pid,ppid,args -p "$pid" | grep sleep
xnet exec "$id" test ! -e "/proc/$$/cmdline"

say "4. a command that is executed later has no parent there"
[ "$(xnet exec "$id" sh -c 'echo $PPID')" = 0 ]

say "5. a namespace without a /proc of its own lists the host's processes"
unshare --pid --fork ps -e >"$work/without"
unshare --pid --fork --mount-proc ps -e >"$work/with"
wc -l "$work/without" "$work/with"
[ "$(wc -l <"$work/without")" -gt 3 ]
[ "$(wc -l <"$work/with")" -eq 2 ]

say "6. the name is the short id, and a change of it stays inside"
host=$(hostname)
short=$(xnet exec "$id" hostname)
[ "$short" = "$(echo "$id" | cut -c1-12)" ]
xnet run --rm --net=none --cap-add SYS_ADMIN ${OPTIONS:-} -- sh -c 'hostname changed && hostname' | grep -x changed
[ "$(hostname)" = "$host" ]

say "7. a queue made inside is not on the host, and the reverse"
xnet exec "$id" ipcmk -Q
queue=$(ipcmk -Q | sed 's/.*: //')
inside=$(xnet exec "$id" ipcs -q | grep '^0x')
outside=$(ipcs -q | grep '^0x')
echo "inside:  $inside"
echo "outside: $outside"
[ "$(echo "$inside" | wc -l)" -eq 1 ]
echo "$outside" >"$work/outside"
not grep -q "^$(echo "$inside" | cut -d' ' -f1) " "$work/outside"
say done
