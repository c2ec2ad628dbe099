//! Choices by weight, in constant time, by integers alone.

use super::Word;

/// Chooses positions in proportion to their weights (Walker's alias method).
#[derive(Debug, Clone, Default)]
pub struct Weighted {
    /// For each slot: the position kept below the threshold, and the one above it.
    slots: Vec<(u32, u32)>,
}

impl Weighted {
    /// Prepares a choice among `weights.len()` positions.
    ///
    /// # Panics
    /// If there are no weights, or they are all zero.
    pub fn new(weights: impl IntoIterator<Item = u64>) -> Self {
        let weights: Vec<u64> = weights.into_iter().collect();
        let total: u128 = weights.iter().map(|&w| u128::from(w)).sum();
        assert!(total > 0, "a choice needs a positive weight");
        let n = weights.len() as u128;
        // Every slot holds `total` units; position i owns `weight * n` of them.
        let mut left: Vec<u128> = weights.iter().map(|&w| u128::from(w) * n).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&i| left[i] < total);
        let mut slots: Vec<(u32, u32)> = (0..weights.len()).map(|i| (u32::MAX, i as u32)).collect();
        while let (Some(lesser), Some(&greater)) = (small.pop(), large.last()) {
            slots[lesser] = (((left[lesser] << 32) / total) as u32, greater as u32);
            left[greater] -= total - left[lesser];
            if left[greater] < total {
                large.pop();
                small.push(greater);
            }
        }
        Self { slots }
    }

    /// The position that `word` chooses.
    #[inline]
    pub fn pick(&self, word: Word) -> usize {
        let slot = (((word.0 >> 32) * self.slots.len() as u64) >> 32) as usize;
        let (threshold, other) = self.slots[slot];
        // No branch, because it could not be predicted.
        std::hint::select_unpredictable((word.0 as u32) < threshold, slot, other as usize)
    }
}

/// Scales `cells` until every row has its sum and every column its share of all: iterative
/// proportional fitting (Deming and Stephan, 1940). Rows come out exact but for rounding down, and those
/// that have nothing stay empty.
pub fn fit(cells: &mut [Vec<u64>], rows: &[u64], columns: &[u64]) {
    let total = |sums: &[u64]| sums.iter().sum::<u64>();
    let scaled = |cell: u64, wanted: u64, found: u64| {
        (u128::from(cell) * u128::from(wanted) / u128::from(found.max(1))) as u64
    };
    for _ in 0..12 {
        for (column, share) in columns.iter().enumerate() {
            let found = cells.iter().map(|row| row[column]).sum();
            let wanted = scaled(*share, total(rows), total(columns));
            for row in cells.iter_mut() {
                row[column] = scaled(row[column], wanted, found);
            }
        }
        for (row, wanted) in cells.iter_mut().zip(rows) {
            let found = total(row);
            for cell in row {
                *cell = scaled(*cell, *wanted, found);
            }
        }
    }
}

/// Finds the interval of a cumulative weight that holds a point.
#[derive(Debug, Clone)]
pub struct Search {
    /// Where each interval starts, and at the end the total.
    starts: Vec<u64>,
    /// For each stretch of `2^shift`, an interval at or before its first point.
    guide: Vec<u32>,
    shift: u32,
}

impl Search {
    /// Intervals with these weights, end to end from 0.
    pub fn new(weights: impl IntoIterator<Item = u64>) -> Self {
        let mut starts = vec![0];
        let mut total = 0_u64;
        for weight in weights {
            total += weight;
            starts.push(total);
        }
        // About four stretches an interval, so that a look-up walks a step or two.
        let stretches = (starts.len() as u64 * 4).next_power_of_two();
        let shift = (64 - total.leading_zeros()).saturating_sub(stretches.trailing_zeros());
        let mut guide = Vec::new();
        let mut interval = 0;
        for stretch in 0..=(total >> shift) {
            while interval + 2 < starts.len() && starts[interval + 1] <= stretch << shift {
                interval += 1;
            }
            guide.push(interval as u32);
        }
        Self { starts, guide, shift }
    }

    /// The sum of all weights.
    pub fn total(&self) -> u64 {
        self.starts[self.starts.len() - 1]
    }

    /// Where interval `index` starts.
    pub fn start(&self, index: usize) -> u64 {
        self.starts[index]
    }

    /// The interval that holds `point`, and how far into it the point is. Empty intervals hold none.
    #[inline]
    pub fn find(&self, point: u64) -> (usize, u64) {
        let mut interval = self.guide[(point >> self.shift) as usize] as usize;
        // One step or none, without a branch, because it could not be predicted; more are rare.
        interval += usize::from(self.starts[interval + 1] <= point);
        while self.starts[interval + 1] <= point {
            interval += 1;
        }
        (interval, point - self.starts[interval])
    }
}
