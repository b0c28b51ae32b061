//! Every text key said wrongly in a login, and what the initiator hears of it.

use super::chap;
use super::odd_initiator::Odd;
use crate::keys::{By, Row, Rule, TABLE};
use crate::login::target::Demand;

/// Says one key in the operational stage. Returns the answer behind what is always said.
fn say(text: &str) -> String {
    let mut odd = Odd::new(Demand::None);
    let answer = odd.say("O", &format!("@ {text}"));
    answer
        .replace("TargetPortalGroupTag=1 MaxRecvDataSegmentLength=262144", "")
        .trim_end()
        .to_owned()
}

/// Says each of `said` in the security stage, and returns the last answer, without what is always said.
fn say_early(demand: &Demand, said: &[&str]) -> String {
    let mut odd = Odd::new(demand.clone());
    let answers = said.iter().map(|text| odd.say("S", text));
    answers.last().unwrap().replace(" TargetPortalGroupTag=1", "")
}

/// Keys that the target answers, with a good value and bad ones.
fn negotiated(row: &Row) -> Option<(&'static str, &'static [&'static str])> {
    Some(match &row.rule {
        Rule::Minimum(_) | Rule::Maximum(_) => {
            let good = if row.name.ends_with("BurstLength") { "512" } else { "1" };
            (
                good,
                &[
                    "",
                    "Yes",
                    "1,2",
                    "1~2",
                    "-1",
                    "+1",
                    "1.5",
                    "0x",
                    "0xg",
                    "4294967296",
                    "16777216",
                ],
            )
        }
        Rule::And(_) | Rule::Or(_) => ("Yes", &["", "yes", "NO", "1", "true", "Yes,No", "Maybe"]),
        Rule::Choice(_) if row.name == "TaskReporting" => {
            ("RFC3720", &["", "rfc3720", "FastAbort"])
        }
        Rule::Choice(_) => ("None", &["", "none", "CRC32", "CRC-32C", "crc32c"]),
        _ => return None,
    })
}

#[test]
fn a_value_that_a_key_cannot_have_is_rejected_and_the_login_goes_on() {
    // §6.2: the responder answers Reject; what was in force before stays so.
    let mut tried = 0;
    for (row, (_, bad)) in TABLE.iter().filter_map(|row| Some((row, negotiated(row)?))) {
        for value in bad {
            assert_eq!(say(&format!("{0}={value}", row.name)), format!("< O  {}=Reject", row.name));
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn a_key_said_twice_ends_the_login() {
    // §6.2: in one request, or in a later one of the same login.
    for row in &TABLE {
        let good = negotiated(row).map_or("1", |(good, _)| good);
        if !matches!(row.name, "InitiatorName" | "TargetName") {
            let twice = format!("{0}={good} {0}={good}", row.name);
            assert_eq!(say(&twice), "< O 0200", "{twice}");
        }
        if negotiated(row).is_some() {
            let mut odd = Odd::new(Demand::None);
            odd.say("O", &format!("@ {}={good}", row.name));
            assert_eq!(odd.say("O", &format!("{}={good}", row.name)), "< O 0200", "{}", row.name);
        }
    }
    assert_eq!(say("InitiatorName=iqn.2026-11.other:x"), "< O 0200");
}

#[test]
fn an_answer_to_what_was_never_offered_ends_the_login() {
    for row in TABLE.iter().filter(|row| negotiated(row).is_some()) {
        for answer in ["Reject", "Irrelevant", "NotUnderstood"] {
            assert_eq!(say(&format!("{}={answer}", row.name)), "< O 0200", "{}", row.name);
        }
    }
    assert_eq!(say("X-com.example.a=NotUnderstood"), "< O 0200");
}

#[test]
fn a_key_in_the_wrong_stage_or_from_the_wrong_side_is_rejected() {
    for row in &TABLE {
        let rejected = match &row.rule {
            // §12.1: only in the security stage.
            Rule::Security => true,
            // Appendix C: only in full feature phase.
            Rule::SendTargets => true,
            // §13.6 and others: the target's to say.
            Rule::Declared => row.by == By::Target,
            _ => false,
        };
        if rejected {
            assert_eq!(say(&format!("{}=1", row.name)), format!("< O  {}=Reject", row.name));
        }
    }
}

/// §12: the keys of the security stage, and no others; §12.1.3: each in its step.
#[test]
fn each_key_in_the_security_stage_has_its_place_or_its_status() {
    for row in &TABLE {
        let one = format!("{}=1", row.name);
        let early = say_early(&Demand::None, &[&format!("@ {one}")]);
        let chosen = ["@ AuthMethod=CHAP", &one];
        let later = say_early(&chap(false), &chosen);
        let rejected = format!("< S {}=Reject", row.name);
        let (first, then) = match (&row.rule, row.name) {
            // What each says is in `chap_that_breaks_the_rules_is_refused_without_a_hint`.
            (Rule::Security, "AuthMethod") => ("< S 0201", "< S 0200"),
            (Rule::Security, "CHAP_A") => ("< S 0200", "< S 0201"),
            (Rule::Security, _) => ("< S 0200", "< S 0200"),
            // The names may be repeated as they are, and are said once in a text.
            (Rule::Declared, "InitiatorName" | "TargetName") => ("< S 0200", "< S 0200"),
            (Rule::Declared, "SessionType") => ("< S 0209", "< S 0200"),
            (Rule::Declared, "InitiatorAlias") => ("< S", "< S 0207"),
            // The target's to say.
            (Rule::Declared, _) => (&*rejected, "< S 0207"),
            _ => ("< S 0200", "< S 0207"),
        };
        assert_eq!((&*early, &*later), (first, then), "{}", row.name);
    }
    assert_eq!(
        say_early(&Demand::None, &["@ X-com.example.a=1"]),
        "< S X-com.example.a=NotUnderstood"
    );
}

#[test]
fn a_key_said_twice_in_the_security_stage_ends_the_login() {
    for row in &TABLE {
        let twice = format!("@ {0}=1 {0}=1", row.name);
        assert_eq!(say_early(&Demand::None, &[&twice]), "< S 0200", "{twice}");
    }
    for key in ["AuthMethod=None", "TargetAlias=1", "TargetAddress=1", "TargetPortalGroupTag=1"] {
        assert_eq!(say_early(&Demand::None, &[&format!("@ {key}"), key]), "< S 0200", "{key}");
    }
    let again: [&[&str]; 2] =
        [&["@ AuthMethod=CHAP", "AuthMethod=CHAP"], &["@ AuthMethod=CHAP", "CHAP_A=5", "CHAP_A=5"]];
    for said in again {
        assert_eq!(say_early(&chap(false), said), "< S 0200", "{said:?}");
    }
}

#[test]
fn text_that_is_none_ends_the_login_in_the_security_stage_too() {
    for text in ["novalue", "=1", "a\u{e4}=1", "AuthMethod", "Auth Method=None", "CHAP_N=\u{7}"] {
        assert_eq!(say_early(&Demand::None, &[&format!("@ {text}")]), "< S 0200", "{text:?}");
        assert_eq!(say_early(&chap(false), &["@ AuthMethod=CHAP", text]), "< S 0200", "{text:?}");
    }
    for (offered, answer) in [
        ("CHAP,None", "< S AuthMethod=None"),
        ("none", "< S 0201"),
        ("", "< S 0201"),
        ("Reject", "< S 0201"),
    ] {
        let said = format!("@ AuthMethod={offered}");
        assert_eq!(say_early(&Demand::None, &[&said]), answer, "{said}");
    }
}

#[test]
fn what_is_declared_wrongly_ends_the_login() {
    for value in ["0", "511", "16777216", "-1", "Yes", "", "512,512", "0x", "99999999999"] {
        assert_eq!(say(&format!("MaxRecvDataSegmentLength={value}")), "< O 0200", "{value}");
    }
    for value in ["512", "0x200", "16777215", "0XFFFFFF"] {
        assert_eq!(say(&format!("MaxRecvDataSegmentLength={value}")), "< O", "{value}");
    }
}

#[test]
fn text_that_is_none_ends_the_login() {
    let long_key = format!("{}=1", "k".repeat(64));
    let long_value = format!("InitiatorAlias={}", "v".repeat(256));
    let long_binary = format!("X-a=0x{}", "0".repeat(2049));
    for text in [
        "novalue",
        "=1",
        "a\u{e4}=1",
        "InitialR2T",
        "In itialR2T=Yes",
        "A=\u{7}",
        "A=\u{9b}",
        &long_key,
        &long_value,
        &long_binary,
        "a/b=1",
        "a:b=1",
        "a,b=1",
    ] {
        assert_eq!(say(text), "< O 0200", "{text:?}");
    }
    let fits = format!("{}=1 InitiatorAlias={}", "k".repeat(63), "v".repeat(255));
    assert_eq!(say(&fits), format!("< O  {}=NotUnderstood", "k".repeat(63)));
}
