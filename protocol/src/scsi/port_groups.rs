//! REPORT TARGET PORT GROUPS (SPC-4 §6.37): through which ports a logical unit is reached, and how
//! well.

use super::{Malformed, put, u16_at, u32_at};

/// How a port group reaches the logical unit (ASYMMETRIC ACCESS STATE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants are the standard's states")]
pub enum AccessState {
    ActiveOptimized,
    ActiveNonOptimized,
    Standby,
    Unavailable,
    LogicalBlockDependent,
    Offline,
    Transitioning,
    Other(u8),
}

impl AccessState {
    const fn code(self) -> u8 {
        match self {
            Self::ActiveOptimized => 0x0,
            Self::ActiveNonOptimized => 0x1,
            Self::Standby => 0x2,
            Self::Unavailable => 0x3,
            Self::LogicalBlockDependent => 0x4,
            Self::Offline => 0xE,
            Self::Transitioning => 0xF,
            Self::Other(code) => code & 0x0F,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code & 0x0F {
            0x0 => Self::ActiveOptimized,
            0x1 => Self::ActiveNonOptimized,
            0x2 => Self::Standby,
            0x3 => Self::Unavailable,
            0x4 => Self::LogicalBlockDependent,
            0xE => Self::Offline,
            0xF => Self::Transitioning,
            other => Self::Other(other),
        }
    }
}

/// A target port group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortGroup {
    /// TARGET PORT GROUP.
    pub group: u16,
    /// PREF: the one to choose.
    pub preferred: bool,
    /// Its state.
    pub state: AccessState,
    /// The states it can be in, a bit each (T_SUP to AO_SUP).
    pub states: u8,
    /// RELATIVE TARGET PORT IDENTIFIERs.
    pub ports: Vec<u16>,
}

/// A group has at most this many ports: TARGET PORT COUNT is a byte.
pub const PORTS_MAX: usize = 255;

/// AO_SUP: active/optimized is a state that is known.
pub const ACTIVE_OPTIMIZED_KNOWN: u8 = 0x01;

/// Writes the data; with `extended`, behind the longer header.
///
/// # Panics
/// If a group has more than [`PORTS_MAX`] ports.
#[must_use]
pub fn report(groups: &[PortGroup], extended: bool) -> Vec<u8> {
    let mut data = vec![0; 4];
    if extended {
        // FORMAT TYPE 1; no implicit transition takes any time.
        data.extend([0x10, 0, 0, 0]);
    }
    for group in groups {
        data.extend([u8::from(group.preferred) << 7 | group.state.code(), group.states]);
        data.extend(group.group.to_be_bytes());
        let count = u8::try_from(group.ports.len()).expect("PORTS_MAX is what its byte counts");
        data.extend([0, 0, 0, count]);
        data.extend(group.ports.iter().flat_map(|port| {
            let [high, low] = port.to_be_bytes();
            [0, 0, high, low]
        }));
    }
    let len = u32::try_from(data.len() - 4).expect("a target has few groups");
    put(&mut data, 0, len.to_be_bytes());
    data
}

/// Reads the data behind the short header.
pub fn parse(data: &[u8]) -> Result<Vec<PortGroup>, Malformed> {
    let wrong = Malformed("target port groups");
    let (head, rest) = data.split_first_chunk::<4>().ok_or(wrong)?;
    let said = usize::try_from(u32_at(head, 0)).unwrap_or(usize::MAX);
    let mut rest = rest.get(..said).ok_or(wrong)?;
    let mut groups = Vec::new();
    while let Some((fixed, more)) = rest.split_first_chunk::<8>() {
        let (ports, next) = more.split_at_checked(usize::from(fixed[7]) * 4).ok_or(wrong)?;
        rest = next;
        groups.push(PortGroup {
            group: u16_at(fixed, 2),
            preferred: fixed[0] & 0x80 != 0,
            state: AccessState::from_code(fixed[0]),
            states: fixed[1],
            ports: ports.as_chunks::<4>().0.iter().map(|port| u16_at(port, 2)).collect(),
        });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_with_its_ports_behind_either_header() {
        let group = PortGroup {
            group: 3,
            preferred: false,
            state: AccessState::ActiveOptimized,
            states: ACTIVE_OPTIMIZED_KNOWN,
            ports: vec![1, 258],
        };
        let body = [0, 1, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 1, 2];
        let data = report(std::slice::from_ref(&group), false);
        assert_eq!(data, [&[0, 0, 0, 16], &body[..]].concat());
        assert_eq!(parse(&data), Ok(vec![group.clone()]));
        let data = report(&[group], true);
        assert_eq!(data, [&[0, 0, 0, 20, 0x10, 0, 0, 0], &body[..]].concat());
    }

    #[test]
    fn a_group_of_as_many_ports_as_can_be_counted_is_told() {
        let ports: Vec<u16> = (1..).take(PORTS_MAX).collect();
        let state = AccessState::ActiveOptimized;
        let group = PortGroup { group: 1, preferred: false, state, states: 1, ports };
        let data = report(std::slice::from_ref(&group), false);
        assert_eq!(parse(&data), Ok(vec![group]));
    }

    #[test]
    fn states_have_the_numbers_of_the_standard() {
        for code in 0..16 {
            assert_eq!(AccessState::from_code(code).code(), code);
        }
    }

    #[test]
    fn data_cut_anywhere_is_an_error_not_a_panic() {
        let state = AccessState::Standby;
        let group = PortGroup { group: 1, preferred: true, state, states: 5, ports: vec![1] };
        let data = report(&[group], false);
        for cut in 0..data.len() {
            assert!(parse(&data[..cut]).is_err(), "cut at {cut}");
        }
    }
}
