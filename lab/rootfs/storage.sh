#!/bin/sh
# Storage and modules, before the services that need them. Runs once, as storage.service.
#
# It never starts a guest, never brings up a DRBD resource, never promotes one: that is the
# actuator's to decide. Settings come from /site/host.env, written by the lab before each boot.
exec >>/site/log/boot.log 2>&1
here=/opt/tandem/src/lab/rootfs
. /site/host.env

say() { read -r up _ </proc/uptime; echo "$up $*"; }

say storage
mkdir -p /var/lib/tandem
install -d -m 700 /etc/tandem
mount -o noatime /dev/ubdb /var/lib/tandem || say "NO STATE DISK"
cp $here/lvmlocal.conf /etc/lvm/lvmlocal.conf
if ! vgchange -q -ay vg0; then
    # An empty disk gets its volume group; one with anything on it is left alone.
    if [ "$(dd if=/dev/ubdc bs=4096 count=4 2>/dev/null | tr -d '\0' | wc -c)" = 0 ]; then
        pvcreate -q /dev/ubdc && vgcreate -q vg0 /dev/ubdc
    else
        say "NO VOLUME GROUP vg0"
    fi
fi
cp $here/global_common.conf /etc/drbd.d/global_common.conf
# One that is given goes where packages put theirs, and so before the kernel's own.
if [ -d /site/drbd-modules ]; then
    say "DRBD's modules are given"
    updates=/lib/modules/$(uname -r)/updates
    mkdir -p "$updates"
    cp /site/drbd-modules/*.ko "$updates"
    depmod
    modprobe drbd_transport_tcp || { dmesg | tail -n 5; say "NO DRBD"; }
else
    modprobe drbd
fi
# Without a transport, 9 counts as none.
if [ -d /sys/module/drbd_transport_tcp ] || [ ! -d /site/drbd-modules ]; then
    cat /sys/module/drbd/version >/site/log/drbd
fi
modprobe tun
[ -z "$SOFTDOG_MARGIN_S" ] || modprobe softdog soft_margin="$SOFTDOG_MARGIN_S"

cp -r /site/libvirt-cache/. /var/cache/libvirt/ 2>/dev/null
cp $here/qemu.conf $here/libvirtd.conf /etc/libvirt/
echo "host_uuid = \"$HOST_UUID\"" >>/etc/libvirt/libvirtd.conf
ln -sfn /site/actuator.yaml /etc/tandem/actuator.yaml
touch /run/booted
say done
