//! What was measured, as JSON for machines and as a table for people.

use serde::Serialize;

use crate::stats::{ROUNDS_MIN, median, spread};

/// One round of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Round {
    pub(crate) value: f64,
    pub(crate) ratio: f64,
}

/// What a row should reach: each part that applies.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Goal {
    pub(crate) value_at_most: Option<f64>,
    pub(crate) ratio_at_most: Option<f64>,
    pub(crate) ratio_at_least: Option<f64>,
}

/// A row as it was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) row: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What the ratio is to, measured in the same run.
    pub(crate) against: String,
    pub(crate) ratio: f64,
    pub(crate) rounds: Vec<Round>,
    pub(crate) machine: String,
    #[serde(skip)]
    pub(crate) goal: Goal,
    /// A part of the goal that is neither value nor ratio was missed.
    #[serde(skip)]
    pub(crate) misses: Vec<String>,
}

impl Row {
    /// A row of these rounds: the medians of what they measured.
    pub(crate) fn new(row: &'static str, unit: &'static str, rounds: Vec<Round>) -> Self {
        assert!(rounds.len() >= ROUNDS_MIN, "too few rounds of `{row}`");
        let value = median(&rounds.iter().map(|round| round.value).collect::<Vec<_>>());
        let ratio = median(&rounds.iter().map(|round| round.ratio).collect::<Vec<_>>());
        let (against, machine) = (String::new(), String::new());
        let (goal, misses) = (Goal::default(), Vec::new());
        Self { row, value, unit, against, ratio, rounds, machine, goal, misses }
    }

    pub(crate) fn against(mut self, what: String) -> Self {
        self.against = what;
        self
    }

    pub(crate) const fn wants(mut self, goal: Goal) -> Self {
        self.goal = goal;
        self
    }

    /// Adds a part of the goal that is a number of its own.
    pub(crate) fn and_wants(mut self, met: bool, part: impl Into<String>) -> Self {
        if !met {
            self.misses.push(part.into());
        }
        self
    }

    fn met(&self) -> String {
        let Goal { value_at_most, ratio_at_most, ratio_at_least } = self.goal;
        let missed = value_at_most.is_some_and(|most| self.value > most)
            || ratio_at_most.is_some_and(|most| self.ratio > most)
            || ratio_at_least.is_some_and(|least| self.ratio < least);
        match (missed, self.misses.is_empty()) {
            (false, true) => "yes".to_owned(),
            (_, false) => format!("**no**: {}", self.misses.join(", ")),
            (true, true) => "**no**".to_owned(),
        }
    }

    fn wanted(&self) -> String {
        let Goal { value_at_most, ratio_at_most, ratio_at_least } = self.goal;
        let value = value_at_most.map(|most| format!("≤ {} {}", short(most), self.unit));
        let most = ratio_at_most.map(|most| format!("ratio ≤ {}", short(most)));
        let least = ratio_at_least.map(|least| format!("ratio ≥ {}", short(least)));
        value.into_iter().chain(most).chain(least).collect::<Vec<_>>().join(", ")
    }

    /// The row in Markdown.
    pub(crate) fn line(&self) -> String {
        let of = |get: fn(&Round) -> f64| {
            let (least, greatest) = spread(&self.rounds.iter().map(get).collect::<Vec<_>>());
            format!("{} to {}", short(least), short(greatest))
        };
        let value = format!("{} {} ({})", short(self.value), self.unit, of(|it| it.value));
        let ratio = format!("{} ({})", short(self.ratio), of(|it| it.ratio));
        let (row, against, wanted, met) = (self.row, &self.against, self.wanted(), self.met());
        format!("| `{row}` | {value} | {against} | {ratio} | {wanted} | {met} |")
    }
}

/// The head of the table.
pub(crate) const HEAD: [&str; 2] = [
    "| Row | Median (least to greatest) | Against | Ratio | Goal | Met |",
    "| --- | --: | --- | --: | --- | --- |",
];

/// A number with three significant digits.
pub(crate) fn short(number: f64) -> String {
    let magnitude = number.abs();
    match magnitude {
        _ if magnitude >= 100.0 => format!("{number:.0}"),
        _ if magnitude >= 10.0 => format!("{number:.1}"),
        _ if magnitude >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

/// The rows as JSON.
pub(crate) fn json(rows: &[Row]) -> String {
    let text = serde_json::to_string_pretty(rows).expect("rows are text and finite numbers");
    text + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn row(values: &[f64], goal: Goal) -> Row {
        let round = |value: &f64| Round { value: *value, ratio: *value / 10.0 };
        Row::new("decide-100", "µs", values.iter().map(round).collect())
            .against("10 rules: 9.50 µs".to_owned())
            .wants(goal)
    }

    #[test]
    fn a_row_has_the_members_that_it_should_and_no_others() {
        let value: Value = serde_json::from_str(&json(&[row(&[9.0, 8.0, 12.0], Goal::default())]))
            .expect("it is JSON");
        let mut members: Vec<_> = value[0].as_object().expect("an object").keys().collect();
        members.sort_unstable();
        assert_eq!(members, ["against", "machine", "ratio", "rounds", "row", "unit", "value"]);
        assert_eq!(value[0]["value"], 9.0);
        assert_eq!(value[0]["rounds"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn a_missed_goal_is_told() {
        let at_most = |most| Goal { value_at_most: Some(most), ..Goal::default() };
        let line = row(&[9.0, 8.0, 12.0], at_most(10.0)).line();
        assert_eq!(
            line,
            "| `decide-100` | 9.00 µs (8.00 to 12.0) | 10 rules: 9.50 µs | 0.900 (0.800 to 1.20) | \
             ≤ 10.0 µs | yes |"
        );
        assert!(row(&[9.0, 8.0, 12.0], at_most(8.9)).line().ends_with("| **no** |"));
        let goal = Goal { ratio_at_least: Some(0.9), ..Goal::default() };
        assert!(row(&[9.0, 8.0, 12.0], goal).line().ends_with("| ratio ≥ 0.900 | yes |"));
        let also = row(&[9.0, 8.0, 12.0], goal).and_wants(false, "19 records per sync");
        assert!(also.line().ends_with("| **no**: 19 records per sync |"));
    }

    #[test]
    #[should_panic(expected = "too few rounds")]
    fn two_rounds_are_too_few() {
        let _ = row(&[1.0, 2.0], Goal::default());
    }
}
