//! E-mail addresses, made from names in the ways people do.
//!
//! The surname that a row was born with and the number of its bearer tell the row (`Bearer::of`). An
//! address has the surname in full, and its form, its domain and its digits tell the number: so two
//! customers never have one address, however many there are. A way tells itself by its letters and
//! separators, where the digits stand, and how many of them are those of the year of birth.

use super::{Bearer, fold};

const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];
/// Ways to write a name, each with as many digits more as it takes:
/// `ana.silva`, `ana_silva`, `a.silva`, `asilva`, `anasilva84`, `ana.silva.84`, `ana84.silva`, `silva.a`.
const WAYS: u64 = 8;

/// The address of somebody.
pub(super) fn address(given: &str, surname: &Bearer, born: i32) -> String {
    let letters = |text| -> String { fold(text).map(char::from).collect() };
    let (given, own) = (letters(given), letters(surname.text));
    // Turned by surname, so that rare ones, of which only the first numbers are taken, are not all written
    // in one way.
    let turn = surname.position as u64;
    let domains = DOMAINS.len() as u64;
    let domain = DOMAINS[((surname.number + turn) % domains) as usize];
    let left = surname.number / domains;
    let way = (left + turn / domains) % WAYS;
    let more = match left / WAYS {
        0 => String::new(),
        more => more.to_string(),
    };
    let (initial, year) = (&given[..1], born.rem_euclid(100));
    match way {
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
