//! Points in time, as everything here writes them: milliseconds since the Unix epoch, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Printed as RFC 3339 with milliseconds; stored and hashed as the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The point `seconds` seconds after the Unix epoch (a JWT `NumericDate`).
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down (a JWT `NumericDate`).
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The day of the week in UTC, in English: `monday`, …
    pub fn weekday(self) -> &'static str {
        // 1970-01-01 was a Thursday.
        const FROM_EPOCH: [&str; 7] =
            ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];
        let day = self.0.div_euclid(24 * 3_600_000).rem_euclid(7);
        FROM_EPOCH[usize::try_from(day).expect("it is one of seven")]
    }

    /// The point `duration` later, saturating at the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// The point `duration` earlier, saturating at the beginning of time.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms after the epoch", self.0),
        }
    }
}

/// A text that is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a date (`2027-01-31`) or a time (`2027-01-31T12:00:00Z`)")]
pub struct InvalidTime;

impl FromStr for Timestamp {
    type Err = InvalidTime;

    /// Reads RFC 3339, or a date, whose beginning in UTC is meant.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let whole = if text.len() == "2027-01-31".len() {
            format!("{text}T00:00:00Z")
        } else {
            text.to_owned()
        };
        let read = whole.parse::<jiff::Timestamp>().map_err(|_| InvalidTime)?;
        Ok(Self(read.as_millisecond()))
    }
}

/// A step of the wall clock against the boot clock by more than this makes it unsure; by less, it may
/// differ from what it was.
pub const CLOCK_STEP_MAX: Duration = Duration::from_secs(2);

/// The source of time: the binary's clock, or a test's manual one.
pub trait Clock: Send + Sync {
    /// The wall clock: what is written in records and tokens.
    fn now(&self) -> Timestamp;
    /// A clock that never goes back, for deadlines and durations.
    fn monotonic(&self) -> Duration;
    /// The wall clock as the machine shows it: it may step, and whether it can be trusted is judged
    /// from it.
    fn wall(&self) -> Timestamp {
        self.now()
    }
    /// Takes the wall clock as it is: an administrator's word.
    fn trust(&self) {}
}
