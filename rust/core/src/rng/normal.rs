//! Normal and log-normal draws by table and integer arithmetic, the same to the bit everywhere.

use std::sync::LazyLock;

use super::Half;

fn numbers(csv: &str) -> impl Iterator<Item = i64> {
    csv.lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| line.parse().expect("a data file of numbers"))
}

/// So many of them, which a look-up then need not compare with.
fn table<const N: usize>(csv: &str) -> [i64; N] {
    numbers(csv).collect::<Vec<_>>().try_into().expect("a data file of so many numbers")
}

static QUANTILES: LazyLock<[i32; 1_025]> =
    LazyLock::new(|| table(include_str!("../../data/normal_q16.csv")).map(|n| n as i32));

static POWERS: LazyLock<[u64; 257]> =
    LazyLock::new(|| table(include_str!("../../data/exp2_q32.csv")).map(|n| n as u64));

/// A standard normal draw times 2^16, by interpolation between 1 025 quantiles (within ±3.3).
#[inline]
pub fn normal_q16(draw: Half) -> i32 {
    let slot = (draw.0 >> 22) as usize;
    let part = i64::from(draw.0 & 0x3F_FFFF);
    let quantiles = &*QUANTILES;
    let (low, high) = (i64::from(quantiles[slot]), i64::from(quantiles[slot + 1]));
    (low + (((high - low) * part) >> 22)) as i32
}

/// `value · 2^(exponent / 2^16)`, for values below 2^40 and results below 2^63.
#[inline]
pub fn exp2_q16(value: u64, exponent: i32) -> u64 {
    let whole = exponent >> 16;
    let slot = ((exponent >> 8) & 0xFF) as usize;
    let part = u64::from(exponent as u32 & 0xFF);
    let powers = &*POWERS;
    let power = powers[slot] + (((powers[slot + 1] - powers[slot]) * part) >> 8);
    if value < 1 << 31 && (-31..=32).contains(&whole) {
        // By far the most: the product fits in a word, as powers are 2^33 at the most.
        return (value * power) >> (32 - whole);
    }
    let product = u128::from(value) * u128::from(power);
    (if whole >= 0 { product << whole >> 32 } else { product >> (32 - whole).min(127) }) as u64
}

/// A log-normal draw: `median · e^(sigma · z)`, where `sigma_pct` is sigma times 100.
#[inline]
pub fn log_normal(draw: Half, median: u64, sigma_pct: u32) -> u64 {
    // 94 548 / 65 536 = 1 / ln 2.
    let exponent = i64::from(normal_q16(draw)) * i64::from(sigma_pct) * 94_548 / 6_553_600;
    exp2_q16(median, exponent as i32)
}

/// Means from here on are drawn by the normal distribution that comes near.
const LARGE_MEAN: u64 = 24 << 16;

/// A Poisson draw of a mean times 2^16.
pub fn poisson(draw: Half, mean_q16: u64) -> u32 {
    if mean_q16 >= LARGE_MEAN {
        // √(mean · 2^16) is √mean times 2^8.
        let sigma = mean_q16.isqrt() as i64;
        let centred = mean_q16 as i64 + ((i64::from(normal_q16(draw)) * sigma) >> 8) + (1 << 15);
        return (centred >> 16).max(0) as u32;
    }
    // e^(−mean), times 2^32; 94 548 / 65 536 = 1 / ln 2.
    let mut chance = exp2_q16(1 << 32, -(((mean_q16 * 94_548) >> 16) as i32));
    let (mut left, mut n) = (u64::from(draw.0), 0);
    while left >= chance && n < 4 * 24 {
        left -= chance;
        n += 1;
        chance = ((chance * mean_q16) >> 16) / u64::from(n);
    }
    n
}
