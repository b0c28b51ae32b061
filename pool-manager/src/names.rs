//! What may be a name.

use outband_pool_api::Problem;

use crate::problems;

const NAME_MAX: usize = 63;
/// RFC 7143 §4.2.7.1.
const IQN_MAX: usize = 223;

/// Names of volumes and hosts: lower case, digits, `.` and `-`, at most 63.
pub(crate) fn check(kind: &str, name: &str) -> Result<(), Problem> {
    let inside = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let good = (1..=NAME_MAX).contains(&bytes.len())
        && bytes.iter().copied().all(inside)
        && edge(bytes.first())
        && edge(bytes.last());
    // "data.p1" is how a unit names the first partition of "data".
    let partition = name.rsplit_once(".p").is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    match (good, partition) {
        (true, false) => Ok(()),
        (true, true) => Err(problems::bad_request(format!(
            "\"{name}\" cannot name a {kind}: an ending like \".p1\" means a partition"
        ))),
        (false, _) => Err(problems::bad_request(format!(
            "\"{name}\" cannot name a {kind}: use a-z, 0-9, \".\" and \"-\", a letter or digit \
             first and last, at most {NAME_MAX}"
        ))),
    }
}

/// A label's name, and its value if it has one.
pub(crate) fn check_label(name: &str, value: Option<&str>) -> Result<(), Problem> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    let good = |text: &str| (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(inside);
    if good(name) && value.is_none_or(good) {
        return Ok(());
    }
    Err(problems::bad_request(format!(
        "\"{name}\" and its value are no label: use letters, digits and \"._-/\", at most {NAME_MAX}"
    )))
}

/// An initiator name in one of the three formats, in the characters that stringprep leaves alone.
pub(crate) fn check_iqn(iqn: &str) -> Result<(), Problem> {
    let formats = ["iqn.", "eui.", "naa."];
    let inside = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b':');
    let good = iqn.len() <= IQN_MAX
        && formats.iter().any(|format| iqn.starts_with(format) && iqn.len() > format.len())
        && iqn.bytes().all(inside);
    if good {
        return Ok(());
    }
    Err(problems::bad_request(format!(
        "\"{iqn}\" is not an iSCSI initiator name: it starts with iqn., eui. or naa., in lower \
         case, at most {IQN_MAX} (see /etc/iscsi/initiatorname.iscsi on the host)"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lower_case_and_no_partitions() {
        for name in ["a", "data", "vol-1.big", "0", "a.p", "a.px", &"a".repeat(63)] {
            assert!(check("volume", name).is_ok(), "{name}");
        }
        let wrong = ["", "A", "a b", "a/b", "-a", "a-", ".", "a.p1", "ä", &"a".repeat(64)];
        for name in wrong {
            assert!(check("volume", name).is_err(), "{name}");
        }
    }

    #[test]
    fn initiator_names_have_one_of_three_formats() {
        for iqn in ["iqn.1993-08.org.debian:01:ab", "eui.02004567a425678d", "naa.52004567ba64678d"]
        {
            assert!(check_iqn(iqn).is_ok(), "{iqn}");
        }
        for iqn in ["", "iqn.", "host-a", "IQN.1993-08.org", "iqn.a b", &"iqn.".repeat(60)] {
            assert!(check_iqn(iqn).is_err(), "{iqn}");
        }
    }
}
