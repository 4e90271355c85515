#!/bin/sh
# The part of a site host's boot that everything else needs: file systems and network. The rest
# is the service "boot", so that the lab's agent answers early, also when the rest fails.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
. /site/host.env

# Only the lower half of the root is below here, and it stays in use without being seen.
umount -l /mnt

mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/lock /run/lvm
ln -sfn /proc/self/fd /dev/fd

# Seen from outside: a host that its watchdog reset boots again without the lab's doing.
read -r boot_id </proc/sys/kernel/random/boot_id
echo "$(date +%s.%N) $boot_id" >>/site/log/boots

hostname "$HOST_NAME"
echo "$HOST_NAME" >/etc/hostname
cp /site/hosts /etc/hosts
modprobe bridge # brings IPv6 in, which nothing here uses
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
ip -batch /site/network.ip

# runsvdir looks for new services only every 5 s: all are there from the start, most of them down.
cp -r /opt/tandem/src/lab/rootfs/services /run/service
touch /run/service/libvirtd/down /run/service/actuator/down
# It also waits a second before it looks at a folder that changed in this very second.
touch -d @1 /run/service
ln -sfn /run/service /etc/service
# tini is process 1 because runsvdir collects orphans only every 5 s, and until then libvirt
# takes a QEMU that has ended for one that will not die.
exec env SVDIR=/run/service tini -- runsvdir -P /run/service
