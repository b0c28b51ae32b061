use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::api::TARGET_PREFIX;
use crate::secret::Secret;

const A: &str = "iqn.2026-01.example:a";
const B: &str = "iqn.2026-01.example:b";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

fn table() -> AccessTable {
    AccessTable::new(TargetNames::new(TARGET_PREFIX, "main"))
}

fn grant(subject: &str, host: &str, epoch: u64) -> Grant {
    Grant {
        subject: subject.parse().unwrap(),
        host: host.to_owned(),
        chap: Some(chap("s1")),
        sources: Vec::new(),
        epoch: Epoch(epoch),
        sessions_per_portal: 1,
    }
}

fn chap(secret: &str) -> Chap {
    Chap { user: "user".to_owned(), secret: Secret::new(secret), mutual: None }
}

fn target(subject: &str) -> String {
    format!("iqn.2026-11.local.outband:main:{subject}")
}

/// Takes `grants` one after the other; the last one's outcome is what is looked at.
fn check(grants: &[(&str, &str, u64)], expected: &str) {
    let mut table = table();
    let outcome = grants
        .iter()
        .map(|(subject, host, epoch)| table.grant(grant(subject, host, *epoch)))
        .last()
        .unwrap();
    let text = match outcome {
        Ok(Granted::New) => "new".to_owned(),
        Ok(Granted::Already) => "already".to_owned(),
        Err(refused) => refused.to_string(),
    };
    assert_eq!(text, expected, "{grants:?}");
}

#[test]
fn a_grant_is_taken_or_refused_by_its_epoch_its_host_and_its_parts() {
    check(&[("v", A, 1)], "new");
    check(&[("v", A, 0)], "epoch 0 is not above the floor 0");
    check(&[("v", A, 5), ("v", A, 5)], "already");
    check(&[("v", A, 5), ("v", A, 6)], "new");
    check(&[("v", A, 5), ("v", A, 4)], "epoch 4 is not above the floor 5");
    check(&[("v", A, 5), ("v", B, 5)], "epoch 5 is not above the floor 5");
    check(
        &[("v", A, 5), ("v", B, 6)],
        "v is granted to iqn.2026-01.example:a since epoch 5; fence that grant first",
    );
    check(&[("v", A, 5), ("w", B, 1)], "new");
    check(&[("v.p1", A, 1), ("v.p2", B, 2)], "new");
    check(&[("v.p1", A, 2), ("v.p2", B, 1)], "epoch 1 is not above the floor 2");
    let both = "is granted: a volume is granted whole or by partitions, never both";
    check(&[("v.p1", A, 1), ("v", A, 2)], &format!("v.p1 {both}"));
    check(&[("v", A, 1), ("v.p1", A, 2)], &format!("v {both}"));
}

#[test]
fn the_same_epoch_with_other_terms_is_not_the_same_request() {
    let mut table = table();
    table.grant(grant("v", A, 5)).unwrap();
    let wider = Grant { sessions_per_portal: 4, ..grant("v", A, 5) };
    assert!(matches!(table.grant(wider), Err(Refused::StaleEpoch { .. })));
}

#[test]
fn a_fence_ends_only_the_grant_it_names_and_older_ones_of_that_host() {
    let ends = |host, epoch| {
        let mut table = table();
        table.grant(grant("v", A, 5)).unwrap();
        let ended = table.fence(&"v".parse().unwrap(), host, Epoch(epoch)).is_some();
        assert_eq!(table.floor("v"), Epoch(epoch.max(5)));
        ended
    };
    assert!(ends(A, 5));
    assert!(ends(A, 6));
    assert!(!ends(A, 4), "a late fence of an older grant");
    assert!(!ends(B, 6), "another host's");
}

#[test]
fn a_grant_that_arrives_after_its_fence_is_refused() {
    let mut table = table();
    assert_eq!(table.fence(&"v".parse().unwrap(), A, Epoch(3)), None);
    let late = table.grant(grant("v", A, 3)).unwrap_err();
    assert_eq!(late, Refused::StaleEpoch { epoch: Epoch(3), floor: Epoch(3) });
    table.grant(grant("v", B, 4)).unwrap();
}

#[test]
fn a_host_is_let_at_its_own_targets_only() {
    let mut table = table();
    table.grant(grant("v", A, 1)).unwrap();
    table.grant(grant("w.p2", B, 1)).unwrap();
    let admit = |host, name: &str| table.admit(host, HERE, name).map(|grant| grant.epoch);
    assert_eq!(admit(A, &target("v")), Ok(Epoch(1)));
    assert_eq!(admit(B, &target("w.p2")), Ok(Epoch(1)));
    assert_eq!(admit(B, &target("v")), Err(Denied::NotGranted));
    assert_eq!(admit(B, &target("w")), Err(Denied::NoSuchTarget));
    assert_eq!(admit(B, "iqn.2026-11.local.outband:other:w.p2"), Err(Denied::NoSuchTarget));
    assert_eq!(table.visible_to(A, HERE).collect::<Vec<_>>(), [target("v")]);
    assert_eq!(table.visible_to("iqn.x", HERE).count(), 0);
    assert_eq!(table.credentials("iqn.x"), Credentials::Unknown);
    assert_eq!(table.credentials(A), Credentials::Chap(&chap("s1")));
}

#[test]
fn sources_filter_login_and_discovery_alike() {
    let takes = |source: &str, from: &str| {
        let mut table = table();
        let sources = vec![source.parse().unwrap()];
        table.grant(Grant { sources, ..grant("v", A, 1) }).unwrap();
        let from: IpAddr = from.parse().unwrap();
        let admitted = match table.admit(A, from, &target("v")) {
            Ok(_) => true,
            Err(denied) => {
                assert_eq!(denied, Denied::Source);
                false
            }
        };
        assert_eq!(table.visible_to(A, from).count(), usize::from(admitted));
        admitted
    };
    assert!(takes("10.0.0.7", "10.0.0.7"));
    assert!(takes("10.0.0.7", "::ffff:10.0.0.7"), "as a dual-stack socket shows it");
    assert!(!takes("10.0.0.7", "10.0.0.8"));
    assert!(takes("10.0.0.0/24", "10.0.0.255"));
    assert!(!takes("10.0.0.0/24", "10.0.1.0"));
    assert!(takes("0.0.0.0/0", "192.0.2.1"));
    assert!(!takes("0.0.0.0/0", "2001:db8::1"));
    assert!(takes("::/0", "2001:db8::1"));
    assert!(takes("2001:db8::/32", "2001:db8:1::1"));
    assert!(!takes("2001:db8::/32", "2001:db9::1"));
}

#[test]
fn what_is_not_an_address_is_no_source() {
    for bad in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "host", "10.0.0.0/-1"] {
        assert!(bad.parse::<Source>().is_err(), "{bad}");
    }
}

#[test]
fn a_new_chap_secret_is_the_hosts_for_all_its_grants() {
    let mut table = table();
    table.grant(grant("v", A, 1)).unwrap();
    table.grant(grant("x", B, 1)).unwrap();
    table.grant(Grant { chap: Some(chap("s2")), ..grant("w", A, 1) }).unwrap();
    assert_eq!(table.credentials(A), Credentials::Chap(&chap("s2")));
    assert_eq!(table.grant_on(&"v".parse().unwrap()).unwrap().chap, Some(chap("s2")));
    assert_eq!(table.credentials(B), Credentials::Chap(&chap("s1")));
}

#[test]
fn a_grant_for_any_host_lets_every_host_in() {
    let mut table = table();
    table.grant(Grant { chap: None, ..grant("v", ANY_HOST, 1) }).unwrap();
    assert_eq!(table.credentials(A), Credentials::Open);
    assert!(table.admit(A, HERE, &target("v")).is_ok());
    assert_eq!(table.visible_to(B, HERE).count(), 1);
}

#[test]
fn a_subject_has_one_text() {
    for good in ["v", "db-1", "v.p1", "web.data.p65535", "x.p", "x.p1a", "x.p01"] {
        assert_eq!(good.parse::<Subject>().unwrap().to_string(), good);
    }
    for bad in ["", ".p1", "V", "v.p1.p2", "v.p65536", "a:b", "a b", &"a".repeat(64)] {
        assert!(bad.parse::<Subject>().is_err(), "{bad}");
    }
    assert_eq!("x.p01".parse::<Subject>().unwrap().partition(), None);
    assert_eq!("v.p7".parse::<Subject>().unwrap().partition(), Some(7));
    assert!(Subject::whole("v.p7").is_err(), "a volume is not named like a partition");
    assert!(Subject::part("v", 0).is_err());
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?}", grant("v", A, 1));
    assert!(!shown.contains("s1"), "{shown}");
}

/// One step of a history: what it does, to which subject, for which host, at which epoch.
fn steps() -> impl Strategy<Value = Vec<(bool, usize, usize, u64)>> {
    prop::collection::vec((any::<bool>(), 0..5_usize, 0..2_usize, 0..12_u64), 0..60)
}

proptest! {
    #[test]
    fn epochs_only_grow_and_no_two_hosts_share_a_block(steps in steps()) {
        let subjects = ["v", "v.p1", "v.p2", "w", "w.p1"];
        let mut table = table();
        for (grants, subject, host, epoch) in steps {
            let before = table.clone();
            let new = grant(subjects[subject], [A, B][host], epoch);
            let floor = before.floor(new.subject.volume());
            if grants {
                match table.grant(new.clone()) {
                    Ok(Granted::New) => prop_assert!(new.epoch > floor),
                    _ => prop_assert_eq!(&table, &before, "refused or repeated changes nothing"),
                }
            } else {
                let ended = table.fence(&new.subject, &new.host, new.epoch);
                prop_assert!(ended.is_none_or(|g| g.host == new.host && g.epoch <= new.epoch));
                prop_assert!(table.floor(new.subject.volume()) >= new.epoch);
            }
            for (volume, floor) in before.floors() {
                prop_assert!(table.floor(volume) >= floor);
            }
            for one in table.grants() {
                prop_assert!(one.epoch <= table.floor(one.subject.volume()));
                for other in table.grants().filter(|other| other.subject != one.subject) {
                    prop_assert!(!one.subject.overlaps(&other.subject));
                }
            }
        }
    }
}

#[test]
fn a_redirect_is_told_to_hosts_with_a_grant_and_to_nobody_else() {
    let mut table = table();
    let redirect = Redirect { address: "192.0.2.7:3261".parse().unwrap(), permanent: false };
    table.set_redirect("v".parse().unwrap(), redirect.clone());
    assert_eq!(table.redirect_for(A, HERE, &target("v")), None, "no grant yet");
    let sources = vec!["10.0.0.0/8".parse().unwrap()];
    table.grant(Grant { sources, ..grant("v", A, 1) }).unwrap();
    assert_eq!(table.redirect_for(A, HERE, &target("v")), Some(&redirect));
    assert_eq!(table.redirect_for(B, HERE, &target("v")), None);
    let elsewhere = IpAddr::V4(Ipv4Addr::new(11, 0, 0, 7));
    assert_eq!(table.redirect_for(A, elsewhere, &target("v")), None);
    assert_eq!(table.redirect_for(A, HERE, &target("w")), None);
    assert_eq!(table.any_grant_of("v"), None, "it uses nothing of this unit");
    assert!(table.clear_redirect(&"v".parse().unwrap()));
    assert!(!table.clear_redirect(&"v".parse().unwrap()));
    assert_eq!(table.redirect_for(A, HERE, &target("v")), None);
    assert!(table.any_grant_of("v").is_some());
}
