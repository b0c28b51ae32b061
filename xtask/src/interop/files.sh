# Two file systems, each made, filled, left, checked and read again in another session. Programs that
# busybox has too are named by their path.

there_and_back() {
    must umount /mnt
    must iscsiadm -m node --logout
    wait_for test ! -b /dev/sda
    must iscsiadm -m node --login
    wait_for test -b /dev/sda
}

# CHECK says whether the file system is whole, and changes nothing.
journey() {
    must mount -t "$1" /dev/sda /mnt
    must dd if=/dev/urandom of=/mnt/large bs=64k count=384 conv=fsync
    mkdir /mnt/small
    for number in $(seq 1 200); do
        echo "$number of $1" >"/mnt/small/$number" || fail "writing a small file"
    done
    must sync -f /mnt
    (cd /mnt && find . -type f | sort | xargs sha256sum) >"/sums.$1"
    there_and_back
    must $2
    must mount -t "$1" /dev/sda /mnt
    (cd /mnt && must sha256sum -c -s "/sums.$1")
    must rm /mnt/large
    grep -v /large "/sums.$1" >/sums.small
    must fstrim /mnt
    there_and_back
    must $2
    must mount -t "$1" /dev/sda /mnt
    (cd /mnt && must sha256sum -c -s /sums.small)
    must umount /mnt
}

# A target that does not prove to know the right secret is not believed.
no_impostor_is_believed() {
    must iscsiadm -m node -o update -n node.session.auth.password_in -v another-secret-16
    if iscsiadm -m node --login >/run/out 2>&1; then
        fail "a target was believed that knows another secret"
    fi
    echo "guest: ok a target that does not know the secret is not believed"
    must iscsiadm -m node -o update -n node.session.auth.password_in -v "$UNIT_SECRET"
}

REPLACEMENT_TIMEOUT=120
start_iscsid
if [ -n "$UNIT_USER" ]; then
    no_impostor_is_believed
fi
must iscsiadm -m node --login
wait_for test -b /dev/sda
must grep -qx "$BLOCK_SIZE" /sys/block/sda/queue/logical_block_size
must with_digests
must /sbin/mke2fs -t ext4 -q /dev/sda
journey ext4 "/sbin/e2fsck -f -n /dev/sda"
must mkfs.xfs -q -f /dev/sda
journey xfs "xfs_repair -n /dev/sda"
must iscsiadm -m node --logout
