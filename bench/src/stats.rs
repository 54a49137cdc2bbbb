//! Rounds of one measurement, and what is quoted of them: the median, with least and greatest.

/// The fewest rounds of which anything is quoted.
pub(crate) const ROUNDS_MIN: usize = 3;

/// The middle of `values`; of an even number, between the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// The least and the greatest of `values`.
pub(crate) fn spread(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (least, greatest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median(&[7.0]).to_bits(), 7.0_f64.to_bits());
    }

    #[test]
    fn one_wild_round_moves_the_spread_and_not_the_median() {
        let calm = [10.0, 11.0, 12.0];
        let wild = [10.0, 11.0, 1_200.0];
        assert_eq!(median(&calm).to_bits(), median(&wild).to_bits());
        assert_eq!(spread(&wild), (10.0, 1_200.0));
    }
}
