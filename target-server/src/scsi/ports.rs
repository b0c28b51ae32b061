//! The ports of a target: one for each portal group (RFC 7143 §4.4.2), all of them to the same logical
//! unit.

use super::{LogicalUnit, NexusId};
use crate::exports::DEFAULT_GROUP;

/// A port of the target, with numbers the station keeps apart across units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetPort {
    /// The target's iSCSI name.
    pub target: String,
    /// TARGET PORTAL GROUP TAG, part of the port's own name.
    pub portal_group: u16,
    /// TARGET PORT GROUP.
    pub group: u16,
    /// RELATIVE TARGET PORT IDENTIFIER, from 1.
    pub relative: u16,
}

impl TargetPort {
    /// The port of the first portal group, which is number 1 in everything.
    #[must_use]
    pub const fn first(target: String) -> Self {
        Self { target, portal_group: DEFAULT_GROUP, group: 1, relative: 1 }
    }

    /// The port that portal group `group` is: one further on for each further group.
    pub(super) fn of_group(&self, group: u16) -> Self {
        let relative = self.relative.wrapping_add(group.wrapping_sub(self.portal_group));
        Self { portal_group: group, relative, ..self.clone() }
    }

    /// The SCSI port name (RFC 7143 §4.4.2).
    pub(super) fn name(&self) -> String {
        format!("{},t,0x{:04x}", self.target, self.portal_group)
    }
}

impl LogicalUnit {
    /// Every port that it is reached by.
    pub(super) fn ports(&self) -> impl Iterator<Item = TargetPort> {
        self.config.portal_groups.iter().map(|group| self.config.port.of_group(*group))
    }

    /// The target port of a nexus.
    #[must_use]
    pub fn port_of(&self, nexus: NexusId) -> TargetPort {
        let first = &self.config.port;
        let relative = self.reservations.target_port_of(nexus).unwrap_or(first.relative);
        first.of_group(first.portal_group.wrapping_add(relative.wrapping_sub(first.relative)))
    }
}
