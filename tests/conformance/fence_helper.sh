#!/bin/sh
# Stands in for drbdadm as the kernel's helper: answers fence-peer as the suite says.
# The kernel calls it with a command and a resource's name. "hold" waits for an answer;
# "gone" is a host that is switched off.
[ "$1" = fence-peer ] || exit 0
slot=/run/conformance/$2
read -r code <"$slot/policy" || code=1
[ "$code" != gone ] || exit 1
if [ "$code" = hold ]; then
    mkfifo "$slot/held.$$"
    echo "asked $$" >>"$slot/asked"
    read -r code <"$slot/held.$$"
else
    echo "asked $$" >>"$slot/asked"
fi
echo "answered $$" >>"$slot/asked"
exit "$code"
