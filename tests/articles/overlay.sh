#!/bin/sh
# What a container writes, as the host finds it on its disk.
#
# The steps are the article's own, with another command's name. Corrected:
#  * it removes a file from the layer of a running container, still sees it inside, and explains this by a cache of the
#    container engine. It is the kernel's cache of names, and the kernel calls such a change undefined. What can be relied
#    on, and is looked at here: after a stop and a start the file is gone;
#  * it gives the path of the layer by name of a driver and a random number. `inspect` tells the path.
#
# It needs root and `xnet`, and leaves nothing. OPTIONS are for `xnet create`.
set -eu
say() { echo "== $*"; }
id=
clean() { [ -z "$id" ] || xnet rm -f "$id" >/dev/null; }
trap clean EXIT

say "1. a container is made and started"
id=$(xnet create --net=none --stop-signal KILL ${OPTIONS:-} -- sleep 1000)
xnet start "$id" | grep -x "$id"

say "2. its layer is a directory on the disk"
upper=$(xnet inspect -f '{{.GraphDriver.Data.UpperDir}}' "$id")
[ -d "$upper" ]
xnet exec "$id" grep ' / overlay ' /proc/mounts | cut -c1-120

say "3. what is written inside shows there"
xnet exec "$id" sh -c 'echo hello word >/home/1234'
grep -x "hello word" "$upper/home/1234"

say "4. it outlives a stop and a start"
xnet stop "$id" >/dev/null
xnet start "$id" >/dev/null
xnet exec "$id" cat /home/1234 | grep -x "hello word"

say "5. a file of the layers below that is removed inside leaves a mark: a device 0, 0"
xnet exec "$id" rm /usr/bin/env
marks=$(find "$upper" "$(dirname "$upper")" -type c -name env)
stat -c '%F %t,%T' $(echo "$marks" | head -1) | grep -x "character special file 0,0"
[ -x /usr/bin/env ]
xnet stop "$id" >/dev/null
xnet start "$id" >/dev/null
xnet exec "$id" test ! -e /usr/bin/env

say "6. removed from the layer by the host, the file is gone after a stop and a start"
xnet stop "$id" >/dev/null
rm "$upper/home/1234"
xnet start "$id" >/dev/null
xnet exec "$id" test ! -e /home/1234

say "7. with the container goes its layer"
xnet rm -f "$id" >/dev/null
id=
[ ! -e "$upper" ]
say done
