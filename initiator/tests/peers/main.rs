//! The initiator against whole targets: ours and tgt, Debian's package, each started as the program
//! that it is. Every test is one body that both must satisfy, so that neither side of ours leans on
//! what only the other does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod data;
mod keys;
mod login;
mod lost;
mod optional;
mod path;
mod peer;

use std::time::Duration;

use outband_initiator::Timing;

const INITIATOR: &str = "iqn.2026-11.local.host:a";
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Runs each test of a module against each peer.
macro_rules! against_each_peer {
    ($($module:ident { $($test:ident,)+ })+) => {
        against_each_peer!(@ outband OUTBAND $($module $($test)+;)+);
        against_each_peer!(@ tgt TGT $($module $($test)+;)+);
    };
    (@ $name:ident $program:ident $($module:ident $($test:ident)+;)+) => {
        mod $name {
            $($(
                #[tokio::test]
                async fn $test() {
                    crate::$module::$test(crate::peer::$program).await;
                }
            )+)+
        }
    };
}

against_each_peer! {
    login {
        its_targets_are_discovered,
        a_target_that_is_not_there_is_told,
        a_host_proves_itself_by_each_algorithm,
        both_sides_prove_themselves,
        who_does_not_prove_itself_is_denied,
        two_sessions_see_what_the_other_wrote_and_end_by_themselves,
        a_logout_is_said_and_answered_before_the_connection_ends,
    }
    data {
        what_is_written_is_read_back_at_every_size,
        what_is_written_is_read_back_with_each_combination_of_digests,
        many_tasks_use_one_disk_at_once,
        the_edges_of_the_disk_are_told_as_they_are,
        a_disk_that_cannot_be_written_says_so,
    }
    keys {
        write_data_goes_out_as_the_keys_allow,
        bursts_end_where_max_burst_length_says,
        segments_may_have_any_length,
    }
    optional {
        what_is_unmapped_reads_as_zeros_where_it_says_so,
        a_compare_and_write_is_done_or_told_to_be_unsupported,
        an_atomic_write_is_done_or_told_to_be_unsupported,
        a_copy_is_done_by_the_target_or_told_to_be_unsupported,
    }
    lost {
        a_connection_cut_again_and_again_is_not_noticed,
        writes_go_on_after_the_target_was_killed_and_started_anew,
        another_disk_behind_the_same_name_is_refused,
        a_stopped_target_costs_no_more_than_the_deadline,
    }
}

/// Bytes of which no two blocks are alike.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 512 * 7 + at + seed * 13) % 251).unwrap()).collect()
}

/// Quick to notice and to try again.
fn impatient() -> Timing {
    Timing {
        back_off_first: Duration::from_millis(5),
        back_off_max: Duration::from_millis(50),
        abort: Duration::from_millis(200),
        ..Timing::default()
    }
}
