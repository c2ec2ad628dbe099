//! E-mail addresses, made from names in the ways people do.
//!
//! The surname that a row was born with and the number of its bearer tell the row, and so do both surnames
//! with their number ([`Family`]). An address has the surname or both in full, and its form, its domain and its
//! digits tell the number: so two customers never have one address, however many there are. A form
//! tells itself by letters and separators, where the digits stand, and how many of them are those of
//! the year of birth.

use super::{Family, fold};

const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];
/// Forms with the last surname: `ana.silva`, `ana_silva`, `a.silva`, `asilva`, `anasilva84`, `ana.silva.84`,
/// `ana84.silva`, `silva.a`.
const FORMS: u64 = 8;
/// Forms with both: `ana.souza.silva`, `ana_souza_silva`, `a.souza.silva`.
const FORMS_OF_BOTH: u64 = 3;

fn letters(name: &str) -> String {
    fold(name).map(char::from).collect()
}

/// A domain, a form and the digits that it takes besides, which tell a number.
///
/// They are turned by surname, so that rare ones, of which only the first numbers are taken, are not all
/// written in one form.
fn parts(number: u64, turn: u64, forms: u64) -> (&'static str, u64, String) {
    let domains = DOMAINS.len() as u64;
    let domain = DOMAINS[((number + turn) % domains) as usize];
    let left = number / domains;
    let more = match left / forms {
        0 => String::new(),
        more => more.to_string(),
    };
    (domain, (left + turn / domains) % forms, more)
}

/// The address of somebody with the last surname.
pub(super) fn of_last(given: &str, family: &Family, born: i32) -> String {
    let (given, own) = (letters(given), letters(family.last.text));
    let (domain, form, more) = parts(family.number, family.last.position as u64, FORMS);
    let (initial, year) = (&given[..1], born.rem_euclid(100));
    match form {
        0 => format!("{given}.{own}{more}@{domain}"),
        1 => format!("{given}_{own}{more}@{domain}"),
        2 => format!("{initial}.{own}{more}@{domain}"),
        3 => format!("{initial}{own}{more}@{domain}"),
        4 => format!("{given}{own}{more}{year:02}@{domain}"),
        5 => format!("{given}.{own}{more}.{year:02}@{domain}"),
        6 => format!("{given}{year:02}.{own}{more}@{domain}"),
        _ => format!("{own}.{initial}{more}@{domain}"),
    }
}

/// The address of somebody with both surnames.
pub(super) fn of_both(given: &str, family: &Family) -> String {
    let [given, middle, own] = [given, family.middle.text, family.last.text].map(letters);
    let turn = (family.last.position + family.middle.position) as u64;
    let (domain, form, more) = parts(family.number_of_both, turn, FORMS_OF_BOTH);
    let initial = &given[..1];
    match form {
        0 => format!("{given}.{middle}.{own}{more}@{domain}"),
        1 => format!("{given}_{middle}_{own}{more}@{domain}"),
        _ => format!("{initial}.{middle}.{own}{more}@{domain}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::brazil::reference;

    /// Without a separator, letters alone tell initial or given name and surname apart.
    #[test]
    fn letters_tell_the_surname() {
        let names = &reference().given_names;
        let given = names.iter().flatten().flat_map(|names| &names.items);
        let given: Vec<Vec<u8>> = given.map(|name| fold(name.label.text).collect()).collect();
        assert!(given.iter().all(|name| name.len() > 1));
        let mut told: BTreeMap<Vec<u8>, (usize, bool)> = BTreeMap::new();
        for (position, surname) in reference().surnames.items.iter().enumerate() {
            let surname: Vec<u8> = fold(surname.label.text).collect();
            assert!(surname.len() > 1);
            for name in &given {
                for (start, initial) in [(&name[..1], true), (&name[..], false)] {
                    let stem = [start, &surname].concat();
                    let known = *told.entry(stem).or_insert((position, initial));
                    assert_eq!(known, (position, initial), "{name:?} {surname:?}");
                }
            }
        }
    }
}
