//! Values known from elsewhere, golden ids, and what holds for every argument of the foundations.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use common::{Read, days, uuid};
use datagen_core::brazil::calendar::{
    Days, Month, instant, is_business_day, is_holiday, is_session_day, is_winter_in_new_york,
    local_day, local_time, opens_late, session_hours, weekday,
};
use datagen_core::brazil::documents::{
    account_digit, card_prefix, cnpj, cnpj_of, cpf, is_elo, luhn,
};
use datagen_core::catalog::{Amortization, Brand};
use datagen_core::civil::{add_months, from_days, to_days};
use datagen_core::entity::customer::CPF_ROOTS;
use datagen_core::entity::loan::{Installment, Schedule, price_installment};
use datagen_core::entity::stock::stock_id;
use datagen_core::id::{Ids, Origin, Permutation};
use datagen_core::plan::{DEFAULT_AS_OF, MAX_CUSTOMERS};
use datagen_core::rng::{
    Domain, Half, Rng, Search, Weighted, Word, exp2_q16, log_normal, normal_q16, philox,
};
use proptest::prelude::*;

/// Side of a grid over both halves of a word: slot, and place within the slot.
const SIDE: u64 = 400;

/// Every domain, and whether ids are made of it.
const DOMAINS: [(Domain, bool); 17] = [
    (Domain::Customer, true),
    (Domain::Property, true),
    (Domain::Stock, true),
    (Domain::Account, true),
    (Domain::CreditCard, true),
    (Domain::Loan, true),
    (Domain::Transaction, true),
    (Domain::CardTransaction, true),
    (Domain::Trade, true),
    (Domain::Installment, true),
    (Domain::Layout, false),
    (Domain::Permutation, false),
    (Domain::Price, false),
    (Domain::PixKey, true),
    (Domain::Skeleton, false),
    (Domain::Merchant, true),
    (Domain::Inside, false),
];

// Draws.

#[test]
fn philox_gives_the_known_answers_of_random123() {
    // Random123, tests/kat_vectors, `philox4x64 10`.
    let zeros = philox([0; 4], [0; 2]);
    assert_eq!(
        zeros,
        [
            0x1655_4d9e_ca36_314c,
            0xdb20_fe9d_672d_0fdc,
            0xd7e7_72ce_e186_176b,
            0x7e68_b68a_ec7b_a23b
        ]
    );
    let ones = philox([u64::MAX; 4], [u64::MAX; 2]);
    assert_eq!(
        ones,
        [
            0x87b0_92c3_013f_e90b,
            0x438c_3c67_be8d_0224,
            0x9cc7_d7c6_9cd7_77b6,
            0xa09c_aebf_594f_0ba0
        ]
    );
    let digits_of_pi = philox(
        [
            0x243f_6a88_85a3_08d3,
            0x1319_8a2e_0370_7344,
            0xa409_3822_299f_31d0,
            0x082e_fa98_ec4e_6c89,
        ],
        [0x4528_21e6_38d0_1377, 0xbe54_66cf_34e9_0c6c],
    );
    assert_eq!(
        digits_of_pi,
        [
            0xa528_f454_03e6_1d95,
            0x38c7_2dbd_566e_9788,
            0xa5a1_610e_72fd_18b5,
            0x57bd_43b5_e52b_7fe6
        ]
    );
}

#[test]
fn draws_are_those_that_numpy_makes() {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let vectors = common::data(include_str!("data/philox.csv"));
    assert!(vectors.len() >= 10);
    for fields in vectors {
        let [seed, domain, row, k, block] = std::array::from_fn(|i| number(fields[i]));
        let words = std::array::from_fn(|i| {
            Word(u64::from_str_radix(fields[5 + i], 16).expect("a number in hexadecimal"))
        });
        let (domain, _) = DOMAINS[domain as usize - 1];
        assert_eq!(Rng::new(seed).four(domain, row, k, block), words, "{fields:?}");
    }
}

#[test]
fn domains_have_the_numbers_that_values_are_made_with() {
    for (number, (domain, makes_ids)) in (1..).zip(DOMAINS) {
        assert_eq!(domain as u8, number);
        assert_eq!(Domain::from_number(number), makes_ids.then_some(domain));
    }
    for number in (0..=u8::MAX).filter(|number| !(1..=17).contains(number)) {
        assert_eq!(Domain::from_number(number), None);
    }
}

#[test]
fn ends_of_a_draw_are_ends_of_its_range() {
    assert_eq!([Word(0).below(7), Word(u64::MAX).below(7)], [0, 6]);
    assert_eq!([Word(0).between(-3, 3), Word(u64::MAX).between(-3, 3)], [-3, 3]);
    assert_eq!([Half(0).below(7), Half(u32::MAX).below(7)], [0, 6]);
    assert_eq!([Half(0).chance(0), Half(u32::MAX).chance(10_000)], [false, true]);
    assert_eq!(Word(0x0123_4567_89ab_cdef).halves(), (Half(0x0123_4567), Half(0x89ab_cdef)));
}

#[test]
fn normal_draws_have_the_moments_of_a_normal_distribution() {
    const N: u32 = 1 << 16;
    let draws: Vec<f64> = (0..N).map(|i| f64::from(normal_q16(Half(i << 16))) / 65_536.0).collect();
    assert!(draws.is_sorted());
    let moment = |power| draws.iter().map(|z| z.powi(power)).sum::<f64>() / f64::from(N);
    assert!(moment(1).abs() < 0.001, "mean {}", moment(1));
    // Cut at ±3.3, so a little less than 1 and 3.
    assert!((0.98..1.01).contains(&moment(2)), "variance {}", moment(2));
    assert!(moment(3).abs() < 0.01, "skewness {}", moment(3));
    assert!((2.7..3.05).contains(&moment(4)), "kurtosis {}", moment(4));
}

#[test]
fn log_normal_draws_have_their_median_and_spread() {
    // `median * e^(sigma * z)` at z = 0 and near ±1.
    let middle = log_normal(Half(1 << 31), 1_000_000, 150);
    assert!((999_000..=1_001_000).contains(&middle), "{middle}");
    let one = Half((0.841_344_7 * 4_294_967_296.0) as u32);
    let above = log_normal(one, 1_000_000, 150);
    assert!((4_440_000..4_520_000).contains(&above), "{above}, not {}", 1e6 * 1.5_f64.exp());
    assert_eq!(exp2_q16(1_000, 3 << 16), 8_000);
    assert_eq!(exp2_q16(1_000, -(3 << 16)), 125);
    assert_eq!(exp2_q16(1_000_000, 1 << 15), 1_414_213);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn choices_follow_their_weights(weights in prop::collection::vec(0_u64..1_000, 1..40)) {
        prop_assume!(weights.iter().any(|&weight| weight > 0));
        let chooser = Weighted::new(weights.iter().copied());
        let mut found = vec![0_u64; weights.len()];
        let step = |i: u64| (i * 2 + 1) * (1 << 32) / (2 * SIDE);
        for slot in 0..SIDE {
            for place in 0..SIDE {
                found[chooser.pick(Word(step(slot) << 32 | step(place)))] += 1;
            }
        }
        let total: u64 = weights.iter().sum();
        for (weight, found) in weights.iter().zip(found) {
            let expected = SIDE * SIDE * weight / total;
            let tolerance = SIDE * SIDE / 50;
            prop_assert!(found.abs_diff(expected) < tolerance, "{found}, not {expected}");
            prop_assert!(*weight > 0 || found == 0, "chosen without a weight");
        }
    }

    #[test]
    fn a_search_finds_the_interval_that_holds_the_point(
        weights in prop::collection::vec(prop_oneof![Just(0), 0_u64..50, 0..u64::MAX >> 8], 1..60),
        place in any::<u64>(),
    ) {
        let total: u64 = weights.iter().sum();
        prop_assume!(total > 0);
        let search = Search::new(weights.iter().copied());
        prop_assert_eq!(search.total(), total);
        for point in [0, Word(place).below(total), total - 1] {
            let mut start = 0;
            let interval = weights
                .iter()
                .position(|weight| {
                    start += weight;
                    start > point
                })
                .expect("a point below the total");
            start -= weights[interval];
            prop_assert_eq!(search.find(point), (interval, point - start));
            prop_assert_eq!(search.start(interval), start);
        }
    }
}

// Numbers with check digits.

#[test]
fn cpfs_have_the_known_check_digits() {
    for known in ["52998224725", "11144477735", "12345678909", "00000000191"] {
        let root = known[..9].parse().expect("nine digits");
        assert_eq!(std::str::from_utf8(&cpf(root)), Ok(known));
    }
}

#[test]
fn cnpjs_have_the_known_check_digits() {
    // Banco do Brasil, Itaú, Petrobras.
    for known in ["00000000000191", "60701190000104", "33000167000101"] {
        let root = known[..8].parse().expect("eight digits");
        let branch = known[8..12].parse().expect("four digits");
        assert_eq!(std::str::from_utf8(&cnpj(root, branch)), Ok(known));
    }
    // The example that the Receita Federal published with the alphanumeric form.
    assert_eq!(&cnpj_of(b"12ABC34501DE"), b"12ABC34501DE35");
    assert_eq!(&cnpj_of(b"607011900001"), b"60701190000104");
}

#[test]
fn luhn_digits_are_those_of_published_numbers() {
    // ISO/IEC 7812-1's example and numbers that payment providers publish for tests.
    for known in [
        "79927398713",
        "4111111111111111",
        "4012888888881881",
        "5555555555554444",
        "5105105105105100",
        "378282246310005",
        "6062826786276634",
    ] {
        let (body, digit) = known.split_at(known.len() - 1);
        assert_eq!(luhn(body.as_bytes()), digit.as_bytes()[0], "{known}");
    }
}

#[test]
fn account_digits_are_those_of_published_numbers() {
    // Banco do Brasil's own example: branch 1584-9, account 00210169-6.
    assert_eq!(account_digit(b"1584"), b'9');
    assert_eq!(account_digit(b"00210169"), b'6');
    assert_eq!(account_digit(b"6"), b'X');
    assert_eq!(account_digit(b"000000000"), b'0');
}

#[test]
fn isins_of_all_stocks_have_their_check_digit() {
    /// ISO 6166: letters as 10 to 35, then Luhn over the digits.
    fn check_digit(body: &str) -> u32 {
        let digits: String =
            body.chars().map(|c| c.to_digit(36).expect("a letter or digit").to_string()).collect();
        let sum: u32 = digits
            .chars()
            .rev()
            .zip([2, 1].into_iter().cycle())
            .map(|(c, weight)| c.to_digit(10).expect("a digit") * weight)
            .map(|product| product / 10 + product % 10)
            .sum();
        (10 - sum % 10) % 10
    }
    // Apple and Treasury of the United Kingdom, to trust the rule above.
    assert_eq!(check_digit("US037833100"), 5);
    assert_eq!(check_digit("GB000263494"), 6);
    let stocks = common::all(&common::bank(42, 1, 1), "stocks");
    let isins = stocks.texts("isin");
    assert_eq!(isins.len(), 42);
    for isin in &isins {
        assert!(isin.starts_with("BR") && isin.len() == 12, "{isin}");
        assert_eq!(isin[11..], check_digit(&isin[..11]).to_string(), "{isin}");
    }
    for known in ["BRVALEACNOR0", "BRPETRACNPR6", "BRITUBACNPR1", "BRWEGEACNOR0"] {
        assert!(isins.contains(&known), "{known}");
    }
}

#[test]
fn card_prefixes_are_their_brands() {
    for choice in (0..2_000_000_u64).step_by(7) {
        let mastercard = card_prefix(Brand::Mastercard, choice);
        assert!(matches!(mastercard, 510_000..=559_999 | 222_100..=272_099), "{mastercard}");
        let visa = card_prefix(Brand::Visa, choice);
        assert!(matches!(visa, 400_000..=499_999), "{visa}");
        assert!(!is_elo(mastercard) && !is_elo(visa));
        assert!(is_elo(card_prefix(Brand::Elo, choice)));
        assert_eq!(card_prefix(Brand::Hipercard, choice), 606_282);
        assert!(matches!(card_prefix(Brand::Amex, choice) / 10_000, 34 | 37));
    }
}

// Loans.

#[test]
fn price_and_sac_are_those_of_the_textbook() {
    // R$ 300 000 at 0.95% a month over 360 months.
    assert_eq!(price_installment(30_000_000, 9_500, 360), 294_801);
    let sac: Vec<Installment> = Schedule::new(Amortization::Sac, 30_000_000, 9_500, 360).collect();
    assert_eq!(sac.len(), 360);
    assert_eq!(sac[0], Installment { principal: 83_333, interest: 285_000 });
    assert_eq!(sac[359], Installment { principal: 83_333, interest: 792 });
    assert!(sac.iter().all(|part| part.principal.abs_diff(83_333) <= 1));
    assert_eq!(sac.iter().map(|part| part.principal).sum::<i64>(), 30_000_000);
    assert_eq!(price_installment(30_000_000, 19_700, 48), 972_094);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn schedules_pay_the_principal_back_and_no_more(
        sac in any::<bool>(),
        principal in 50_000_i64..1_000_000_000,
        // Housing, payroll, vehicle and personal loans: millionths a month, and months.
        (rate, term) in prop_oneof![
            (8_700_i64..=10_500, 120_u32..=420),
            (16_000_i64..=42_000, 12_u32..=96),
            (16_700_i64..=22_700, 12_u32..=60),
            (46_000_i64..=78_000, 6_u32..=48),
        ],
    ) {
        let amortization = if sac { Amortization::Sac } else { Amortization::Price };
        let schedule: Vec<Installment> =
            Schedule::new(amortization, principal, rate, term).collect();
        prop_assert_eq!(schedule.len(), term as usize);
        let mut balance = principal;
        for (installment, left) in schedule.iter().zip((0..term).rev()) {
            let interest = (balance * rate + 500_000) / 1_000_000;
            prop_assert_eq!(installment.interest, interest);
            prop_assert!(installment.principal >= 0);
            if sac {
                // Less than a centavo from the exact part.
                let term = i64::from(term);
                prop_assert!((installment.principal * term).abs_diff(principal) < term as u64);
                let (owed, exact) = ((balance - installment.principal) * term, principal * i64::from(left));
                prop_assert!(2 * owed.abs_diff(exact) <= term as u64, "{owed}, not {exact}");
            }
            balance -= installment.principal;
            prop_assert!(balance >= 0);
        }
        prop_assert_eq!(balance, 0);
        if !sac {
            let exact = price_installment(principal, rate, term);
            let (last, others) = schedule.split_last().expect("an installment");
            for installment in others {
                prop_assert_eq!(installment.principal + installment.interest, exact);
            }
            // Every month rounds by half a centavo twice, and interest grows on that.
            let rest = (last.principal + last.interest).abs_diff(exact);
            let bound = (0..term).fold(1, |sum, _| sum + sum * rate as u64 / 1_000_000 + 2);
            prop_assert!(rest <= bound, "{rest} at the end");
        }
    }
}

// Days.

#[test]
fn civil_dates_go_there_and_back_over_three_centuries() {
    for day in days::all() {
        let (year, month, day_of_month) = days::ymd(day);
        assert_eq!(from_days(day), (year, month, day_of_month));
        assert_eq!(to_days(year, month, day_of_month), day);
    }
    assert_eq!(days::day(1970, 1, 1), 0);
    assert_eq!(add_months(2026, 11, 28, 3), days::day(2027, 2, 28));
    assert_eq!(add_months(2026, 1, 15, -1), days::day(2025, 12, 15));
    assert_eq!(DEFAULT_AS_OF, days::utc((2026, 7, 1), 0, 0));
}

#[test]
fn instants_are_three_hours_behind_utc() {
    let early = days::utc((2026, 1, 1), 2, 59);
    assert_eq!(local_day(early), days::day(2025, 12, 31));
    assert_eq!(local_time(early), 23 * days::HOUR + 59 * days::MINUTE);
    for at in [early, early + days::MINUTE, -1, 0, days::utc((2026, 7, 1), 12, 0)] {
        assert_eq!((local_day(at), local_time(at)), days::local(at));
        assert_eq!(instant(local_day(at), local_time(at)), at);
    }
}

#[test]
fn holidays_are_the_listed_ones() {
    let (first, last) = (days::day(2021, 1, 1), days::day(2027, 12, 31));
    let history = Days::new(first, last);
    for day in first..=last {
        let name = days::date_text(day);
        assert_eq!(weekday(day), days::weekday(day), "{name}");
        assert_eq!(is_holiday(day), days::HOLIDAYS.contains(&days::ymd(day)), "{name}");
        assert_eq!(is_business_day(day), days::is_business_day(day), "{name}");
        assert_eq!(history.at(day).business, days::is_business_day(day), "{name}");
        assert_eq!(is_session_day(day), days::is_session_day(day), "{name}");
    }
    // A national holiday since 2024.
    assert!(!is_holiday(days::day(2023, 11, 20)));
}

#[test]
fn moving_holidays_follow_easter() {
    for easter in [
        (2000, 4, 23),
        (2008, 3, 23),
        (2011, 4, 24),
        (2019, 4, 21),
        (2024, 3, 31),
        (2025, 4, 20),
        (2026, 4, 5),
        (2027, 3, 28),
        (2038, 4, 25),
        (2049, 4, 18),
        (2076, 4, 19),
        (2100, 3, 28),
    ] {
        let sunday = days::day(easter.0, easter.1, easter.2);
        assert_eq!(days::weekday(sunday), 6);
        for offset in [-48, -47, -2, 60] {
            assert!(is_holiday(sunday + offset), "{offset} days from Easter of {}", easter.0);
        }
        for offset in [-49, -46, -3, -1, 59, 61] {
            let fixed = matches!(days::ymd(sunday + offset), (_, 4, 21) | (_, 5, 1));
            assert_eq!(is_holiday(sunday + offset), fixed, "{offset} days from {easter:?}");
        }
    }
}

#[test]
fn trades_settle_two_session_days_later() {
    for (traded, settled) in [
        // Over Carnival.
        ((2026, 2, 13), (2026, 2, 19)),
        ((2025, 2, 28), (2025, 3, 6)),
        // Over Good Friday.
        ((2026, 4, 2), (2026, 4, 7)),
        // Over a holiday of São Paulo, in its last year.
        ((2021, 1, 22), (2021, 1, 27)),
        ((2021, 7, 8), (2021, 7, 13)),
        ((2024, 7, 8), (2024, 7, 10)),
        // Over Christmas and New Year, when 24 and 31 December have no session.
        ((2026, 12, 23), (2026, 12, 29)),
        ((2026, 12, 30), (2027, 1, 5)),
        // Tuesday to Thursday.
        ((2026, 6, 30), (2026, 7, 2)),
    ] {
        let day = days::day(traded.0, traded.1, traded.2);
        assert_eq!(days::ymd(Days::new(day - 3, day).at(day).settlement), settled);
        assert_eq!(days::ymd(days::session_days_after(day, 2)), settled);
    }
}

#[test]
fn payday_is_the_fifth_business_day() {
    for payday in [(2026, 1, 8), (2026, 4, 8), (2026, 6, 8), (2026, 7, 7), (2026, 9, 8)] {
        let day = days::day(payday.0, payday.1, payday.2);
        assert_eq!(Month::of(day).payday(), day);
    }
}

#[test]
fn months_follow_one_another() {
    let months = Month::all(days::day(2025, 10, 31), days::day(2026, 2, 1));
    let firsts: Vec<_> = months.iter().map(|month| days::ymd(month.first_day)).collect();
    assert_eq!(firsts, [10, 11, 12, 13, 14].map(|m| (2025 + m / 13, (m as u32 - 1) % 12 + 1, 1)));
    // 30 November 2025 was a Sunday, 20 December a Saturday.
    let thirteenth: Vec<_> = months.iter().map(|m| m.thirteenth.map(days::ymd)).collect();
    assert_eq!(thirteenth, [None, Some((2025, 11, 28)), Some((2025, 12, 19)), None, None]);
}

#[test]
fn b3_opens_late_on_ash_wednesday() {
    for (year, month, day) in days::ASH_WEDNESDAYS {
        let day = days::day(year, month, day);
        assert!(opens_late(day) && is_session_day(day));
        assert!(!opens_late(day - 1) && !opens_late(day + 1));
    }
}

#[test]
fn b3_closes_an_hour_later_while_new_york_is_on_standard_time() {
    for day in days::day(2021, 1, 1)..=days::day(2027, 12, 31) {
        assert_eq!(session_hours(day), days::session(day), "{}", days::date_text(day));
    }
    for (day, winter) in [
        ((2026, 3, 7), true),
        ((2026, 3, 8), false),
        ((2026, 10, 31), false),
        ((2026, 11, 1), true),
    ] {
        assert_eq!(is_winter_in_new_york(days::day(day.0, day.1, day.2)), winter, "{day:?}");
    }
}

// Ids and permutations.

fn ids(seed: u64) -> Ids {
    Ids::new(&Rng::new(seed))
}

#[test]
fn ids_are_the_golden_ones() {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let vectors = common::data(include_str!("data/ids.csv"));
    assert!(vectors.len() >= 12);
    for fields in vectors {
        let [seed, domain, row, k] = std::array::from_fn(|i| number(fields[i]));
        let (domain, _) = DOMAINS[domain as usize - 1];
        let origin = Origin { domain, row, k: k as u32 };
        assert_eq!(uuid(ids(seed).encode(origin)), fields[4], "{origin:?} of seed {seed}");
    }
}

#[test]
fn ids_of_stocks_are_a_function_of_the_ticker() {
    assert_eq!(uuid(stock_id("PETR4")), "a00e52ed-80aa-4437-96ae-5fe807aedef2");
    assert_eq!(uuid(stock_id("TAEE11")), "b94155e0-ea1b-4596-8af3-fac6cc38079a");
    // The row is the ticker's six bytes, under seed 0.
    let row = u64::from_be_bytes(*b"\0\0TAEE11");
    let origin = Origin { domain: Domain::Stock, row, k: 0 };
    assert_eq!(ids(0).decode(stock_id("TAEE11")), Some(origin));
}

fn origins() -> impl Strategy<Value = Origin> {
    let id_domains: Vec<Domain> =
        DOMAINS.iter().filter(|(_, makes_ids)| *makes_ids).map(|(domain, _)| *domain).collect();
    let rows = prop_oneof![0_u64..100_000_000, 0_u64..1 << 48, Just((1 << 48) - 1)];
    let ks = prop_oneof![0_u32..500, any::<u32>(), Just(u32::MAX)];
    (prop::sample::select(id_domains), rows, ks).prop_map(|(domain, row, k)| Origin {
        domain,
        row,
        k,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn ids_lead_back_to_their_origin(seed in any::<u64>(), origin in origins()) {
        let id = ids(seed).encode(origin);
        // RFC 9562, sections 4.1 and 4.2: version 4, variant 10.
        prop_assert_eq!(id[6] >> 4, 4);
        prop_assert_eq!(id[8] >> 6, 0b10);
        prop_assert_eq!(ids(seed).decode(id), Some(origin));
    }

    #[test]
    fn ids_of_another_seed_are_strangers(
        seed in any::<u64>(),
        other in any::<u64>(),
        origin in origins(),
    ) {
        prop_assume!(seed != other);
        prop_assert_eq!(ids(other).decode(ids(seed).encode(origin)), None);
    }

    #[test]
    fn sixteen_bytes_are_an_id_only_if_they_encode_to_themselves(id in any::<[u8; 16]>()) {
        let mut id = id;
        if id[0] % 2 == 1 {
            // Of the right version and variant at least.
            id[6] = 0x40 | id[6] & 0x0F;
            id[8] = 0x80 | id[8] & 0x3F;
        }
        if let Some(origin) = ids(42).decode(id) {
            prop_assert_eq!(ids(42).encode(origin), id);
        }
    }

    #[test]
    fn different_origins_have_different_ids(a in origins(), b in origins()) {
        prop_assert_eq!(a == b, ids(42).encode(a) == ids(42).encode(b));
    }
}

#[test]
fn permutations_of_small_sizes_are_bijections() {
    let rng = Rng::new(42);
    for size in 1..=2_000_u64 {
        let permutation = Permutation::new(&rng, size % 7, size);
        let mut seen = vec![false; size as usize];
        for x in 0..size {
            let y = permutation.apply(x) as usize;
            assert!(!std::mem::replace(&mut seen[y], true), "{y} of {size} comes twice");
        }
    }
}

#[test]
fn permutations_of_large_sizes_do_not_collide() {
    for size in [99_999_990, 100_000_000, 1_000_000_000] {
        let permutation = Permutation::new(&Rng::new(7), 1, size);
        let mut found: Vec<u64> = (0..100_000).map(|x| permutation.apply(x)).collect();
        found.extend((size - 100_000..size).map(|x| permutation.apply(x)));
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 200_000);
        assert!(found[199_999] < size);
        // Spread over the whole, not near the start.
        assert!(found[100_000].abs_diff(size / 2) < size / 50);
    }
}

#[test]
fn permutations_differ_by_number_and_seed() {
    let images = |seed, number| -> Vec<u64> {
        let permutation = Permutation::new(&Rng::new(seed), number, 1_000_000);
        (0..100).map(|x| permutation.apply(x)).collect()
    };
    assert_ne!(images(1, 1), images(1, 2));
    assert_ne!(images(1, 1), images(2, 1));
}

#[test]
fn every_customer_of_the_largest_plan_has_a_cpf() {
    const { assert!(MAX_CUSTOMERS <= CPF_ROOTS) };
}
