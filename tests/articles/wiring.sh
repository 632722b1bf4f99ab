#!/bin/sh
# Wiring a container by hand, as the articles do it after `--net=none`.
#
# The steps are the articles' own, with another command's name. Corrected:
#  * the article's default route goes to the veth's name, and to 172.16.0.1 in a network 172.17.0.0/16: the kernel refuses
#    that (Nexthop has invalid gateway). It goes to the address of the bridge;
#  * `brctl addif` is `ip link set ... master` today;
#  * the link in /var/run/netns that is made by process number is left dangling when the container ends, and leads to
#    whoever gets the number later. xnet pins the namespace itself, under the container's id, and takes that away.
#
# It needs root, `xnet` and iproute2, and leaves the bridge xnet0. OPTIONS are for `xnet run`.
set -eu
say() { echo "== $*"; }
work=$(mktemp -d)
trap 'exec 3>&-; rm -rf "$work"; rm -f "/var/run/netns/${pid:-none}"' EXIT
xnet run --rm ${OPTIONS:-} -- true # the first one makes the bridge

say "1. a container with a loopback and nothing else; its prompt shows the short id"
mkfifo "$work/in"
: >"$work/out"
xnet run -i --rm --net=none --pidfile "$work/pid" ${OPTIONS:-} -- sh <"$work/in" >"$work/out" &
runner=$!
exec 3>"$work/in"
echo 'hostname; ls /sys/class/net' >&3
n=0
while [ "$(wc -l <"$work/out")" -lt 2 ]; do n=$((n + 1)); [ "$n" -lt 500 ]; sleep 0.02; done
short=$(head -1 "$work/out")
[ ${#short} -eq 12 ]
[ "$(tail -1 "$work/out")" = lo ]

say "2. its process as the host numbers it"
pid=$(xnet inspect -f '{{.State.Pid}}' "$short")
[ "$pid" = "$(cat "$work/pid")" ]

say "3. ip netns finds it by a link to the process, and without one by the container's id"
mkdir -p /var/run/netns
ln -s "/proc/$pid/ns/net" "/var/run/netns/$pid"
ip netns exec "$pid" ip link
id=$(cd /var/run/netns && echo "$short"*)
ip netns exec "$id" ip link show lo

say "4. the bridge has an address and a prefix"
bridge=$(ip -o -4 addr show xnet0 | awk '{print $4}')
gateway=${bridge%/*}

say "5. a pair, one end on the bridge"
ip link add A type veth peer name B
ip link set A master xnet0
ip link set A up

say "6. the other end in the container, as eth0: it has a link-local address only"
ip link set B netns "$pid"
ip netns exec "$pid" ip link set dev B name eth0
ip netns exec "$pid" ip link set eth0 up
[ -z "$(ip netns exec "$pid" ip -o -4 addr show eth0)" ]

say "7. an address and a default route, which leads to the bridge's address"
ip netns exec "$pid" ip addr add "${gateway%.*}.5/${bridge#*/}" dev eth0
if ip netns exec "$pid" ip route add default via 172.16.0.1 2>"$work/refusal"; then exit 1; fi
grep -q 'Nexthop has invalid gateway' "$work/refusal"
ip netns exec "$pid" ip route add default via "$gateway"

say "8. it answers"
ping -c1 -W2 "${gateway%.*}.5" | grep ttl=64

say "9. the container ends: its link goes by itself, the name of step 3 stays and leads nowhere"
exec 3>&-
wait "$runner"
n=0
while ip link show A >/dev/null 2>&1; do n=$((n + 1)); [ "$n" -lt 250 ]; sleep 0.02; done
[ ! -e "/var/run/netns/$id" ]
[ -h "/var/run/netns/$pid" ]
[ ! -e "/var/run/netns/$pid" ]
xnet netns ls --stale | grep "/netns/$pid"
say done
