//! Check digits of the numbers that Brazilians carry.

use crate::catalog::Brand;

/// Writes `number` as `digits.len()` ASCII digits.
#[inline]
pub fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The mod-11 digit of the Receita Federal: weighted sum mod 11, then 11 less that, or 0 below 2. A letter
/// has the value of its code less that of 0, as a digit has.
fn mod_11(digits: &[u8], weights: impl Iterator<Item = u32>) -> u8 {
    let sum: u32 = digits.iter().zip(weights).map(|(&d, w)| u32::from(d - b'0') * w).sum();
    match sum % 11 {
        0 | 1 => b'0',
        rest => b'0' + (11 - rest) as u8,
    }
}

/// The digits of a number below 10^8, one a byte, the first in the lowest: halves, quarters and eighths are
/// parted by one multiplication for all of them.
#[inline]
const fn eight_digits(number: u32) -> u64 {
    let number = number as u64;
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7F_0000_007F;
    let pairs = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0xF_000F_000F_000F;
    tens | ((pairs - 10 * tens) << 8)
}

/// The sum of eight digits by weights, of which every other four are multiplied at once: the highest part of the
/// product has the sum.
#[inline]
const fn weighed(digits: u64, by: [u64; 8]) -> u32 {
    const EVERY_OTHER: u64 = 0xFF_00FF_00FF_00FF;
    let even = (by[0] << 48) | (by[2] << 32) | (by[4] << 16) | by[6];
    let odd = (by[1] << 48) | (by[3] << 32) | (by[5] << 16) | by[7];
    let even = (digits & EVERY_OTHER).wrapping_mul(even);
    let odd = ((digits >> 8) & EVERY_OTHER).wrapping_mul(odd);
    (even.wrapping_add(odd) >> 48) as u32
}

/// A check digit by its sum.
#[inline]
const fn check(sum: u32) -> u32 {
    match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    }
}

/// Eight digits as ASCII.
#[inline]
const fn ascii(digits: u64) -> [u8; 8] {
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

/// The last eight digits of a number.
#[inline]
pub const fn digits(number: u32) -> [u8; 8] {
    ascii(eight_digits(number))
}

/// The CPF with these nine digits: weights 10 to 2, then 11 to 2.
pub fn cpf(root: u32) -> [u8; 11] {
    let (eight, ninth) = (eight_digits(root / 10), root % 10);
    let one = check(weighed(eight, [10, 9, 8, 7, 6, 5, 4, 3]) + 2 * ninth);
    let two = check(weighed(eight, [11, 10, 9, 8, 7, 6, 5, 4]) + 3 * ninth + 2 * one);
    let mut text = [b'0'; 11];
    text[..8].copy_from_slice(&ascii(eight));
    for (text, digit) in text[8..].iter_mut().zip([ninth, one, two]) {
        *text += digit as u8;
    }
    text
}

/// The CNPJ with this root of eight digits and branch of four: weights 5 to 2 and 9 to 2, then with
/// 6 in front. Numeric, as those given out before July 2026.
#[inline]
pub fn cnpj(root: u32, branch: u32) -> [u8; 14] {
    let (root, branch) = (eight_digits(root), eight_digits(branch));
    let sum = weighed(root, [5, 4, 3, 2, 9, 8, 7, 6]) + weighed(branch, [0, 0, 0, 0, 5, 4, 3, 2]);
    let one = check(sum);
    let sum = weighed(root, [6, 5, 4, 3, 2, 9, 8, 7]) + weighed(branch, [0, 0, 0, 0, 6, 5, 4, 3]);
    let two = check(sum + 2 * one);
    let mut text = [b'0'; 14];
    text[..8].copy_from_slice(&ascii(root));
    text[8..12].copy_from_slice(&ascii(branch)[4..]);
    text[12] += one as u8;
    text[13] += two as u8;
    text
}

/// The CNPJ with this root of eight and branch of four digits and capital letters, which new ones may have since
/// July 2026: weights 5 to 2 and 9 to 2, then with 6 in front.
pub fn cnpj_of(base: &[u8; 12]) -> [u8; 14] {
    const WEIGHTS: [u32; 13] = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    let mut digits = [b'0'; 14];
    digits[..12].copy_from_slice(base);
    digits[12] = mod_11(&digits[..12], WEIGHTS[1..].iter().copied());
    digits[13] = mod_11(&digits[..13], WEIGHTS.iter().copied());
    digits
}

/// The Luhn digit that belongs behind these digits (ISO/IEC 7812-1, annex B).
pub fn luhn(digits: &[u8]) -> u8 {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &d)| {
            let d = u32::from(d - b'0');
            if i % 2 == 0 { d * 2 / 10 + d * 2 % 10 } else { d }
        })
        .sum();
    b'0' + ((10 - sum % 10) % 10) as u8
}

/// The check digit of an account number: mod 11 with weights 2 to 9 from the right; 10 is written X.
pub fn account_digit(digits: &[u8]) -> u8 {
    let sum: u32 =
        digits.iter().rev().zip((2..=9).cycle()).map(|(&d, w)| u32::from(d - b'0') * w).sum();
    match (11 - sum % 11) % 11 {
        10 => b'X',
        digit => b'0' + digit as u8,
    }
}

/// First and last six digits of the ranges in which Elo issues cards.
const ELO: [(u32, u32); 23] = [
    (401_178, 401_179),
    (431_274, 431_274),
    (438_935, 438_935),
    (451_416, 451_416),
    (457_393, 457_393),
    (457_631, 457_632),
    (504_175, 504_175),
    (506_699, 506_778),
    (509_000, 509_999),
    (627_780, 627_780),
    (636_297, 636_297),
    (636_368, 636_368),
    (650_031, 650_033),
    (650_035, 650_051),
    (650_405, 650_439),
    (650_485, 650_538),
    (650_541, 650_598),
    (650_700, 650_718),
    (650_720, 650_727),
    (650_901, 650_978),
    (651_652, 651_679),
    (655_000, 655_019),
    (655_021, 655_058),
];

/// Whether a six-digit prefix is Elo's.
pub fn is_elo(prefix: u32) -> bool {
    ELO.iter().any(|&(first, last)| (first..=last).contains(&prefix))
}

/// A six-digit card prefix of a brand.
///
/// `choice` is any number; it picks among the brand's ranges.
pub fn card_prefix(brand: Brand, choice: u64) -> u32 {
    match brand {
        // 51–55 and 2221–2720, as Mastercard publishes.
        Brand::Mastercard if choice.is_multiple_of(4) => 222_100 + (choice / 4 % 50_000) as u32,
        Brand::Mastercard => not_elo(510_000 + (choice % 50_000) as u32),
        Brand::Visa => not_elo(400_000 + (choice % 100_000) as u32),
        Brand::Elo => {
            let (first, last) = ELO[(choice % ELO.len() as u64) as usize];
            first + (choice / 64 % u64::from(last - first + 1)) as u32
        }
        Brand::Hipercard => 606_282,
        Brand::Amex => {
            (if choice.is_multiple_of(2) { 340_000 } else { 370_000 })
                + (choice / 2 % 10_000) as u32
        }
    }
}

/// The first prefix from here on that Elo does not issue; Visa's and Mastercard's ranges surround
/// some of Elo's.
fn not_elo(prefix: u32) -> u32 {
    (prefix..1_000_000).find(|&p| !is_elo(p)).unwrap_or(prefix)
}
