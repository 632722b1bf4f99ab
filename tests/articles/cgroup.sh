#!/bin/sh
# Limits and accounts of a container in the kernel's own files.
#
# The steps are the articles' own, with another command's name. Corrected:
#  * the articles read /sys/fs/cgroup/memory/docker/ID. Which hierarchy has a controller, and where it is mounted, differs
#    from host to host: /proc/PID/cgroup and the mount table tell, and `xnet cgroup` puts them together;
#  * a hierarchy id of 0 in /proc/cgroups does not mean that the controller is off: those of version 2 have it as well;
#  * "all tasks are in one hierarchy": a process is in one group of every hierarchy.
#
# It needs root and `xnet`, and leaves nothing. OPTIONS are for `xnet run`.
set -eu
say() { echo "== $*"; }
not() { if "$@"; then exit 1; fi; }
work=$(mktemp -d)
clean() {
    [ -z "${id:-}" ] || xnet rm -f "$id" >/dev/null
    rm -rf "$work"
}
trap clean EXIT

# The first of these files that is in one of the groups of process $pid; the arguments are pairs of controller and file.
# Version 2 has its own line, without a controller.
setting() {
    while [ $# -gt 0 ]; do
        group=$(awk -F: -v name="$1" '$2 == name || $2 ~ "(^|,)" name "(,|$)" {print $3; exit}' "/proc/$pid/cgroup")
        kind=cgroup
        [ -n "$1" ] || kind=cgroup2
        for point in $(awk -v kind="$kind" '$3 == kind {print $2}' /proc/mounts); do
            if [ -n "$group" ] && [ -e "$point$group/$2" ]; then
                echo "$point$group/$2"
                return
            fi
        done
        shift 2
    done
    echo "no group of $pid has the file" >&2
    return 1
}

say "1. what this kernel has: controller, hierarchy, groups, enabled"
cat /proc/cgroups

say "2. a container with limits is in a group of its own in every hierarchy"
id=$(xnet run -d --net=none -m 32m --cpus 0.5 --pids-limit 40 ${OPTIONS:-} -- sleep 1000)
pid=$(xnet inspect -f '{{.State.Pid}}' "$id")
cat "/proc/$pid/cgroup"
awk -F: -v id="$id" 'index($3, id) == 0' "/proc/$pid/cgroup" >"$work/elsewhere"
not grep . "$work/elsewhere"

say "3. the limits are in the groups' files, and the process is in their lists"
file=$(setting memory memory.limit_in_bytes '' memory.max)
echo "$file: $(cat "$file")"
[ "$(cat "$file")" = 33554432 ]
grep -qx "$pid" "$(dirname "$file")/cgroup.procs"
file=$(setting pids pids.max '' pids.max)
echo "$file: $(cat "$file")"
[ "$(cat "$file")" = 40 ]
if file=$(setting cpu cpu.cfs_quota_us); then
    echo "$file: $(cat "$file") of $(cat "$(dirname "$file")/cpu.cfs_period_us")"
    [ "$((2 * $(cat "$file")))" -eq "$(cat "$(dirname "$file")/cpu.cfs_period_us")" ]
else
    grep -x "50000 100000" "$(setting '' cpu.max)"
fi

say "4. xnet finds the same files"
xnet cgroup "$id"

say "5. inside, the group looks like the root"
xnet exec "$id" cut -d: -f3 /proc/self/cgroup | tee "$work/inside"
not grep -vx / "$work/inside"

say "6. the accounts: what it has used"
xnet stats --no-stream "$id"
file=$(setting memory memory.usage_in_bytes '' memory.current)
echo "$file: $(cat "$file")"
[ "$(cat "$file")" -gt 0 ]

say "7. who wants more memory than the limit is killed: 128 + 9"
status=0
xnet run --rm --net=none -m 32m ${OPTIONS:-} -- tail /dev/zero || status=$?
[ "$status" -eq 137 ]

say "8. with the container go its groups"
dir=$(dirname "$file")
xnet rm -f "$id" >/dev/null
id=
[ ! -e "$dir" ]
say done
