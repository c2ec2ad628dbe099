//! Which plans are made and which are refused, with what is said then.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use common::{all, bank_of, days, relations};
use datagen_core::plan::Plan;

fn refusal(customers: u64, as_of: i64, days: u32) -> String {
    Plan::try_new(42, customers, as_of, days).expect_err("a refusal").to_string()
}

#[test]
fn refusals_say_the_bounds_in_a_line() {
    let default = days::utc((2026, 7, 1), 0, 0);
    for (customers, as_of, days, parts) in [
        (0, default, 90, ["customers", "1 to 99999990"]),
        (99_999_991, default, 90, ["customers", "1 to 99999990"]),
        (1, days::utc((2020, 12, 31), 23, 59), 1, ["as_of", "2021-01-02 to 2099-12-31"]),
        (1, days::utc((2100, 1, 1), 0, 0), 90, ["as_of", "2021-04-01 to 2099-12-31"]),
        (1, default, 0, ["days", "use 1 to 2007"]),
        (1, default, 10_000, ["days", "use 1 to 2007"]),
        (1, default, 2_008, ["days", "1 to 2007, or a later as_of"]),
        (1, days::utc((2099, 1, 1), 0, 0), 10_000, ["days", "use 1 to 3660"]),
        (
            1,
            days::utc((2021, 1, 10), 0, 0),
            90,
            ["days", "1 to 9, or a later as_of, as no history starts before 2021"],
        ),
        (
            1,
            days::utc((2021, 1, 10), 23, 0),
            10,
            ["days", "1 to 9, or a later as_of, as no history starts before 2021"],
        ),
        (
            1,
            days::utc((2021, 1, 1), 23, 59),
            1,
            ["days", "use a later as_of, as no history starts before 2021"],
        ),
    ] {
        let said = refusal(customers, as_of, days);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}, not {parts:?}");
        assert!(!said.contains('\n'), "{said}");
    }
}

#[test]
fn the_first_and_the_last_history_can_be_made() {
    for (as_of, length) in [
        (days::utc((2021, 1, 2), 0, 0), 1),
        (days::utc((2021, 1, 10), 0, 0), 9),
        (days::utc((2031, 1, 9), 0, 0), 3_660),
        (days::utc((2100, 1, 1), 0, 0) - 1, 30),
    ] {
        let plan = Plan::try_new(42, 20, as_of, length).expect("a plan");
        let bank = bank_of(plan);
        for relation in relations() {
            let rows = all(&bank, relation.name).rows();
            // A day without a session has no trades.
            assert!(rows > 0 || relation.name == "banking.trades", "{}", relation.name);
        }
    }
}
