#!/bin/sh
# The part of a site host's boot that everything else needs: network, and what is special about a
# host of the lab. The rest is systemd's, process 1 from here on: the units beside this file, and
# Tandem's own, as it is shipped. Nothing else is enabled in the image.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
here=/opt/tandem/src/lab/rootfs
. /site/host.env

# Only the lower half of the root is below here, and it stays in use without being seen.
umount -l /mnt

mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mkdir -p /run/lock /run/lvm

# Seen from outside: a host that its watchdog reset boots again without the lab's doing.
read -r boot_id </proc/sys/kernel/random/boot_id
echo "$(date +%s.%N) $boot_id" >>/site/log/boots

hostname "$HOST_NAME"
echo "$HOST_NAME" >/etc/hostname
echo "$HOST_UUID" | tr -d - >/etc/machine-id
cp /site/hosts /etc/hosts
modprobe bridge # brings IPv6 in, which nothing here uses
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
ip -batch /site/network.ip

units=/etc/systemd/system
cp -r $here/units/* /opt/tandem/src/manifests/systemd/*.service $units
cp $here/journald.conf /etc/systemd/
mkdir -p /opt/tandem/bin $units/sysinit.target.wants $units/multi-user.target.wants
install -m 755 $here/tandem-actuator /opt/tandem/bin/
install -m 755 $here/tandem-fence-peer /usr/local/bin/
enable="storage libvirtd"
[ ! -e /site/actuator.enabled ] || enable="$enable tandem-actuator"
for unit in $enable; do
    ln -s $units/$unit.service $units/multi-user.target.wants/
done
ln -s $units/agent.service /lib/systemd/system/systemd-journald.service $units/sysinit.target.wants/
ln -s /lib/systemd/system/multi-user.target $units/default.target
exec /lib/systemd/systemd
