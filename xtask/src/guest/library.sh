# What the scenarios share. Lines that start with "guest: " are read by the program that runs the
# machine: ok, please, acknowledged, done; anything else is a failure.

fail() {
    echo "guest: failed: $*"
    dmesg | tail -n 30
    poweroff -f
    sleep 60
}

# Runs a command and says that it went well, or shows why not and ends.
must() {
    if "$@" >/run/out 2>&1; then
        echo "guest: ok $*"
    else
        cat /run/out
        fail "$*"
    fi
}

# Until a command succeeds, for more than a minute.
wait_for() {
    tries=0
    until "$@" >/run/out 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 400 ]; then
            cat /run/out
            fail "never: $*"
        fi
        sleep 0.2
    done
    echo "guest: ok $*"
}

start_iscsid() {
    echo "InitiatorName=$INITIATOR" >/etc/iscsi/initiatorname.iscsi
    cat >/etc/iscsi/iscsid.conf <<CONF
node.startup = manual
node.session.auth.authmethod = CHAP
node.session.auth.username = $CHAP_USER
node.session.auth.password = $CHAP_SECRET
discovery.sendtargets.auth.authmethod = CHAP
discovery.sendtargets.auth.username = $CHAP_USER
discovery.sendtargets.auth.password = $CHAP_SECRET
node.conn[0].iscsi.HeaderDigest = CRC32C
node.conn[0].iscsi.DataDigest = CRC32C
node.session.timeo.replacement_timeout = $REPLACEMENT_TIMEOUT
node.conn[0].timeo.noop_out_interval = 5
node.conn[0].timeo.noop_out_timeout = 5
node.session.scan = auto
CONF
    if [ -n "$UNIT_USER" ]; then
        cat >>/etc/iscsi/iscsid.conf <<CONF
node.session.auth.username_in = $UNIT_USER
node.session.auth.password_in = $UNIT_SECRET
discovery.sendtargets.auth.username_in = $UNIT_USER
discovery.sendtargets.auth.password_in = $UNIT_SECRET
CONF
    fi
    iscsid -f &
    wait_for iscsiadm -m iface
    must iscsiadm -m discovery -t sendtargets -p "10.0.2.2:$PORT"
}

# What the initiator agreed to, in its own words.
with_digests() {
    iscsiadm -m session -P 2 | grep -q "HeaderDigest: CRC32C" || return 1
    iscsiadm -m session -P 2 | grep -q "DataDigest: CRC32C"
}

# Writes record NUMBER to DEVICE, past every cache of this machine.
put_record() {
    printf 'record %08d\n' "$2" |
        dd of="$1" bs=4096 seek="$2" conv=sync,notrunc,fsync oflag=direct 2>/run/out || {
        cat /run/out
        fail "writing record $2"
    }
}

# Records 0 to COUNT-1 of DEVICE are all there.
records_are_there() {
    number=0
    while [ "$number" -lt "$2" ]; do
        found=$(dd if="$1" bs=4096 skip="$number" count=1 iflag=direct 2>/dev/null | head -n 1)
        [ "$found" = "$(printf 'record %08d' "$number")" ] || {
            echo "record $number is: $found"
            return 1
        }
        number=$((number + 1))
    done
}
