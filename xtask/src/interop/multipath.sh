# Two portals as one device: writes go on while one of them is away, and by both when it is back.

paths_running() {
    [ "$(multipathd show paths raw format '%t %o' | grep -c 'active running')" -eq "$1" ]
}

REPLACEMENT_TIMEOUT=5
cat >/etc/multipath.conf <<CONF
defaults {
    user_friendly_names yes
    find_multipaths no
    polling_interval 2
    path_grouping_policy multibus
    path_selector "round-robin 0"
    no_path_retry 60
}
CONF

ln -s /bin/udevadm /sbin/systemd-udevd
/sbin/systemd-udevd --daemon
start_iscsid
must iscsiadm -m node --login
wait_for test -b /dev/sdb
multipathd -d -v 2 &
wait_for test -b /dev/mapper/mpatha
wait_for paths_running 2
number=0
while [ "$number" -lt "$RECORDS" ]; do
    put_record /dev/mapper/mpatha "$number"
    echo "guest: acknowledged $number"
    number=$((number + 1))
    if [ "$number" -eq $((RECORDS / 2)) ]; then
        wait_for paths_running 1
        echo "guest: please bring the path back"
        wait_for paths_running 2
    fi
done
must records_are_there /dev/mapper/mpatha "$RECORDS"
multipath -ll
