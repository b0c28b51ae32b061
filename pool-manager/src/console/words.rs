//! Times, rates and instructions as pages show them.

use outband_pool_api::Connection;
use time::OffsetDateTime;

/// `2026-11-21 13:05:09 UTC`, of seconds since 1970.
pub(super) fn time(seconds: u64) -> String {
    let at =
        i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let Some(at) = at else {
        return format!("{seconds} s after 1970");
    };
    let (hour, minute, second) = at.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", at.date())
}

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Microseconds, as people say them.
pub(super) fn took(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros / 100 % 10),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
    }
}

/// What an operator types on a host of each kind, without the secret.
pub(super) fn instructions(at: &Connection) -> Vec<(&'static str, String)> {
    let Connection { target, lun, initiator, chap, .. } = at;
    let user = &chap.user;
    let Some(portal) = at.portals.first() else {
        return Vec::new();
    };
    let (address, port) = portal.rsplit_once(':').unwrap_or((portal, "3260"));
    let address = address.trim_matches(['[', ']']);
    vec![
        (
            "Linux (open-iscsi)",
            format!(
                "# /etc/iscsi/initiatorname.iscsi: InitiatorName={initiator}\n\
                 iscsiadm -m node -T {target} -p {portal} -o new\n\
                 iscsiadm -m node -T {target} -p {portal} -o update -n node.session.auth.authmethod -v CHAP\n\
                 iscsiadm -m node -T {target} -p {portal} -o update -n node.session.auth.username -v {user}\n\
                 iscsiadm -m node -T {target} -p {portal} -o update -n node.session.auth.password -v SECRET\n\
                 iscsiadm -m node -T {target} -p {portal} --login"
            ),
        ),
        (
            "Windows (PowerShell)",
            format!(
                "# iSCSI Initiator, Configuration: Initiator Name {initiator}\n\
                 New-IscsiTargetPortal -TargetPortalAddress {address} -TargetPortalPortNumber {port} `\n    \
                 -AuthenticationType ONEWAYCHAP -ChapUsername {user} -ChapSecret SECRET\n\
                 Connect-IscsiTarget -NodeAddress {target} -TargetPortalAddress {address} `\n    \
                 -TargetPortalPortNumber {port} -AuthenticationType ONEWAYCHAP `\n    \
                 -ChapUsername {user} -ChapSecret SECRET -IsPersistent $true"
            ),
        ),
        (
            "VMware ESXi",
            format!(
                "# vmhba64 stands for the software iSCSI adapter; its name is to be {initiator}\n\
                 esxcli iscsi adapter set --adapter vmhba64 --name {initiator}\n\
                 esxcli iscsi adapter auth chap set --adapter vmhba64 --direction uni --level required \\\n    \
                 --authname {user} --secret SECRET\n\
                 esxcli iscsi adapter discovery statictarget add --adapter vmhba64 \\\n    \
                 --address {portal} --name {target}\n\
                 esxcli storage core adapter rescan --adapter vmhba64"
            ),
        ),
        (
            "QEMU",
            format!(
                "qemu-system-x86_64 \\\n    \
                 -object secret,id=chap,data=SECRET \\\n    \
                 -blockdev driver=iscsi,node-name=disk,transport=tcp,portal={portal},target={target},\\\n\
                 lun={lun},user={user},password-secret=chap,initiator-name={initiator} \\\n    \
                 -device virtio-blk,drive=disk"
            ),
        ),
        (
            "Rust",
            format!(
                "let config = outband_initiator::Config::new(\"{portal}\", \"{target}\")\n    \
                 .initiator(\"{initiator}\")\n    .chap(\"{user}\", secret);\n\
                 let disk = outband_initiator::Disk::connect(config).await?;"
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let table = [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (1_795_266_309, "2026-11-21 13:05:09"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ];
        for (seconds, shown) in table {
            assert_eq!(time(seconds), format!("{shown} UTC"));
        }
        assert_eq!(time(u64::MAX), "18446744073709551615 s after 1970");
    }

    #[test]
    fn a_time_has_the_unit_that_leaves_few_digits() {
        for (micros, shown) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_950, "1.9 ms"),
            (12_345, "12 ms"),
            (8_388_608, "8.3 s"),
        ] {
            assert_eq!(took(micros), shown);
        }
    }

    #[test]
    fn figures_are_grouped_by_thousands() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (21_113_004, "21,113,004")]
        {
            assert_eq!(grouped(number), shown);
        }
    }
}
