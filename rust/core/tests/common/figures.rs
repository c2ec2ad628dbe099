//! Figures of columns, and checks of them.

#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::ops::RangeInclusive;

/// Prints a figure, and fails if it is not within what was promised.
pub fn check(what: &str, found: f64, promised: RangeInclusive<f64>) {
    println!("{what}: {found:.3} ({promised:?})");
    assert!(promised.contains(&found), "{what}: {found}, not within {promised:?}");
}

pub fn mean(values: &[i64]) -> f64 {
    values.iter().map(|value| *value as f64).sum::<f64>() / values.len() as f64
}

pub fn median(values: &[i64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2] as f64
}

/// Percentage of the rows for which `is` holds.
pub fn share(rows: usize, is: impl Fn(usize) -> bool) -> f64 {
    100.0 * (0..rows).filter(|row| is(*row)).count() as f64 / rows as f64
}

/// Checks percentages of values, each with a tolerance.
pub fn shares<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], promised: &[(T, f64, f64)]) {
    for (value, percent, tolerance) in promised {
        let found = share(found.len(), |row| found[row] == *value);
        check(&format!("{what} {value:?} %"), found, percent - tolerance..=percent + tolerance);
    }
}

/// Correlation of ranks, which a long tail does not disturb.
pub fn rank_correlation(xs: &[i64], ys: &[i64]) -> f64 {
    let ranks = |values: &[i64]| -> Vec<f64> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|row| values[*row]);
        let mut ranks = vec![0.0; values.len()];
        for (rank, row) in order.into_iter().enumerate() {
            ranks[row] = rank as f64 - (values.len() as f64 - 1.0) / 2.0;
        }
        ranks
    };
    let (xs, ys) = (ranks(xs), ranks(ys));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    product(&xs, &ys) / (product(&xs, &xs) * product(&ys, &ys)).sqrt()
}

pub fn where_is<T: Copy>(values: &[T], is: impl Fn(usize) -> bool) -> Vec<T> {
    values.iter().enumerate().filter(|(row, _)| is(*row)).map(|(_, value)| *value).collect()
}
