# Records one by one, each acknowledged aloud, while the target is killed and started again. A second
# writer keeps it busy, so that it is killed under I/O.

REPLACEMENT_TIMEOUT=600
start_iscsid
must iscsiadm -m node --login
wait_for test -b /dev/sda
touch /run/busy
(
    while [ -f /run/busy ]; do
        dd if=/dev/zero of=/dev/sda bs=256k seek=128 count=64 oflag=direct 2>/dev/null ||
            echo "guest: failed: the second writer met an error"
    done
    touch /run/idle
) &
number=0
while [ "$number" -lt "$RECORDS" ]; do
    put_record /dev/sda "$number"
    echo "guest: acknowledged $number"
    number=$((number + 1))
done
rm /run/busy
wait_for test -f /run/idle
must records_are_there /dev/sda "$RECORDS"
must iscsiadm -m node --logout
