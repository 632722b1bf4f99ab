#!/bin/sh
# A directory of the host inside a container, as the article's own container in C has it.
#
# The steps are the article's, with another command's name. Corrected:
#  * its program says that the mount has failed and goes on, and its command then runs on the host's root. Here nothing
#    runs, and the status is 125;
#  * it binds in the host's view of mounts: where / is shared, as with systemd, the volume shows on the host and stays
#    there. Here no mount of the host's comes or goes;
#  * both directories must be there beforehand. Here the one inside is made, in the container's own layer.
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
mkdir "$work/t1"
echo "from the host" >"$work/t1/first"
before=$(cut -d' ' -f5 /proc/self/mountinfo)

say "1. what the host has in the directory is seen inside"
id=$(xnet run -d --net=none -v "$work/t1:/mnt/made/here" ${OPTIONS:-} -- sleep 1000)
xnet exec "$id" cat /mnt/made/here/first | grep -x "from the host"

say "2. what is written inside is on the host at once, and the reverse"
xnet exec "$id" sh -c 'echo "from inside" >/mnt/made/here/second'
grep -x "from inside" "$work/t1/second"
echo "from the host, later" >"$work/t1/third"
xnet exec "$id" cat /mnt/made/here/third | grep -x "from the host, later"

say "3. the host has no mount more than before"
[ "$(cut -d' ' -f5 /proc/self/mountinfo | grep -vF /netns)" = "$(echo "$before" | grep -vF /netns)" ]

say "4. the files stay when the container goes"
xnet rm -f "$id" >/dev/null
id=
ls "$work/t1" | tr '\n' ' ' | grep -x "first second third "

say "5. read-only means it"
status=0
xnet run --rm --net=none -v "$work/t1:/mnt:ro" ${OPTIONS:-} -- touch /mnt/fourth || status=$?
[ "$status" -eq 1 ]
not test -e "$work/t1/fourth"

say "6. where the directory is missing, nothing runs"
status=0
out=$(xnet run --rm --net=none --mount "type=bind,source=$work/missing,target=/mnt" ${OPTIONS:-} -- echo ran) || status=$?
[ "$status" -eq 125 ]
[ -z "$out" ]
say done
