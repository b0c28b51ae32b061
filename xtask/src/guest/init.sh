#!/bin/busybox sh
# The first process of a guest: modules, network, and then the scenario.
export PATH=/sbin:/bin LD_LIBRARY_PATH=/lib/x86_64-linux-gnu
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /run /mnt /var/lib /etc/iscsi /etc/multipath
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir -p /run/lock/iscsi
exec </dev/null >/dev/ttyS0 2>&1
while read -r module; do
    insmod "/modules/$module.ko" || echo "insmod $module failed"
done </modules/order
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
. /variables
. /library.sh
. /scenario.sh
echo "guest: done"
poweroff -f
