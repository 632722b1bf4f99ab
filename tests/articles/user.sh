#!/bin/sh
# Root inside, somebody else outside: users of a container, as the articles show them.
#
# The steps are the article's own, with another command's name. Corrected:
#  * it starts as user 1000 and needs no root for it; many systems have forbidden that since. The first step is left out
#    where that is so;
#  * `unshare -r` maps one user, and everything that belongs to others shows as nobody's. A container gets a whole range.
#
# It needs root, `xnet`, procps and util-linux, and leaves nothing. OPTIONS are for `xnet run`.
set -eu
say() { echo "== $*"; }
not() { if "$@"; then exit 1; fi; }
work=$(mktemp -d)
clean() {
    [ -z "${id:-}" ] || xnet rm -f "$id" >/dev/null
    rm -rf "$work"
}
trap clean EXIT

say "1. the article's: user 1000 becomes root in a namespace of its own"
if as=$(setpriv --reuid=1000 --regid=1000 --clear-groups unshare --map-root-user --user id -u 2>/dev/null); then
    [ "$as" = 0 ]
else
    echo "skipped: this system lets only root make user namespaces"
fi

say "2. a container with a range of users: root inside"
mkdir "$work/shared"
chmod 777 "$work" "$work/shared"
id=$(xnet run -d --net=none --userns=100000:100000:65536 -v "$work/shared:/mnt" ${OPTIONS:-} -- \
    sh -c 'id -u >/mnt/id; : >/mnt/written; exec sleep 1000')
while [ ! -e "$work/shared/written" ]; do sleep 0.02; done
grep -x 0 "$work/shared/id"

say "3. the same process on the host is nobody's whom the host knows"
pid=$(xnet inspect -f '{{.State.Pid}}' "$id")
ps -o pid,uid,args -p "$pid"
[ "$(ps -o uid= -p "$pid" | tr -d ' ')" = 100000 ]
grep NSpid "/proc/$pid/status"

say "4. the kernel's table says how they belong together: inside, outside, how many"
cat "/proc/$pid/uid_map"
[ "$(tr -s ' ' <"/proc/$pid/uid_map")" = " 0 100000 65536" ]

say "5. root there is not root here: what is the host's root's alone stays closed"
install -m 600 /dev/null "$work/shared/roots-own"
xnet exec "$id" id -u | grep -x 0
not xnet exec "$id" cat /mnt/roots-own

say "6. a file that it writes belongs to the mapped user"
stat -c '%u %n' "$work/shared/written"
[ "$(stat -c %u "$work/shared/written")" = 100000 ]
say done
