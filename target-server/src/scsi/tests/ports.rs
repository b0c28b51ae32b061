//! What is told of the ports of a target that is reached by several portal groups.

use outband_protocol::scsi::inquiry::{Association, Designator, Name};
use outband_protocol::scsi::port_groups;

use super::*;

/// Host A by portal group 1, B by group 4; nobody by group 2.
fn of_three_groups() -> Talk {
    let mut talk = Talk::new(LuConfig { portal_groups: vec![1, 2, 4], ..disk() });
    talk.unit.attach(B, port(B), 4);
    assert!(talk.unit.attentions.take(B).is_some());
    talk
}

/// Names of the ports in a page.
fn port_names(designators: &[Designator]) -> Vec<String> {
    let names = designators.iter().filter(|one| one.of == Association::TargetPort);
    let name = |one: &Designator| match &one.name {
        Name::Scsi(name) => Some(name.clone()),
        Name::RelativePort(number) => Some(number.to_string()),
        Name::PortGroup(number) => Some(format!("group {number}")),
        _ => None,
    };
    names.filter_map(name).collect()
}

const TARGET: &str = "iqn.2026-11.local.outband:pool:vol";

#[test]
fn page_83_names_the_port_that_was_asked() {
    let mut talk = of_three_groups();
    for (nexus, relative, tag) in [(A, 2, 1), (B, 5, 4)] {
        let page = data(talk.send(nexus, Cdb::inquiry(Some(0x83), 1024)));
        let name = format!("{TARGET},t,0x{tag:04x}");
        let told = port_names(&Designator::parse_page(&page).unwrap());
        assert_eq!(told, [relative.to_string(), "group 3".to_owned(), name]);
        assert_eq!(talk.unit.port_of(nexus).portal_group, tag);
    }
}

#[test]
fn page_88_and_target_port_groups_tell_of_every_port() {
    let mut talk = of_three_groups();
    for nexus in [A, B] {
        let page = data(talk.send(nexus, Cdb::inquiry(Some(0x88), 1024)));
        let mut rest = &page[4..];
        let mut told = Vec::new();
        while let [_, _, high, low, _, _, 0, 0, _, _, len_high, len_low, more @ ..] = rest {
            let (names, next) =
                more.split_at(usize::from(u16::from_be_bytes([*len_high, *len_low])));
            // Page 83h has the same descriptors behind its own four bytes.
            let names = [&[0, 0x83, *len_high, *len_low], names].concat();
            let names = port_names(&Designator::parse_page(&names).unwrap());
            told.push((u16::from_be_bytes([*high, *low]), names));
            rest = next;
        }
        assert!(rest.is_empty());
        let name = |tag| vec![format!("{TARGET},t,0x{tag:04x}")];
        assert_eq!(told, [(2, name(1)), (3, name(2)), (5, name(4))]);

        let ask = Cdb::ReportTargetPortGroups { extended: false, allocation: 64 };
        let groups = port_groups::parse(&data(talk.send(nexus, ask))).unwrap();
        assert_eq!(groups.len(), 1, "all ports are equally good");
        assert_eq!((groups[0].group, &groups[0].ports[..]), (3, &[2, 3, 5][..]));
    }
}
