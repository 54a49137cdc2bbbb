//! Departures: what is declared of how an agent's instances act, in what one of them departs from that, and the
//! risk that the service itself sees it at since.
//!
//! What they may use at most is declared by ceiling, purpose and mandate; here is how often, and when. Whatever is
//! not declared is departed from by nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{InvalidName, RiskLevel, Timestamp};

const HOURS_RULE: &str = "`DAYS HH:MM-HH:MM OFFSET`, as in `mon-fri 08:00-18:00 +01:00`";

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Minutes of an hour, a day and a week.
const HOUR: i16 = 60;
const DAY: i16 = 24 * HOUR;
const WEEK: i16 = 7 * DAY;

/// The farthest that a place's clock may be from UTC, in minutes.
const OFFSET_MAX: i16 = 14 * HOUR;

/// In what an instance departs from what is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// It asks for data that its mandate, purpose and ceiling do not have.
    Data,
    /// It asks more often than its agent does in an hour.
    Rate,
    /// It asks outside of its agent's hours.
    Time,
    /// It asks for a tool that its mandate, purpose and ceiling do not have.
    Tool,
}

impl Departure {
    /// Every kind, in order.
    pub const ALL: [Self; 4] = [Self::Data, Self::Rate, Self::Time, Self::Tool];

    /// The kind as policy sets spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Rate => "rate",
            Self::Time => "time",
            Self::Tool => "tool",
        }
    }

    /// As what a record tells that it was seen, and a finding why.
    pub const fn signal(self) -> &'static str {
        match self {
            Self::Data => "departed_data",
            Self::Rate => "departed_rate",
            Self::Time => "departed_time",
            Self::Tool => "departed_tool",
        }
    }
}

/// How often, and when, the instances of an agent act, as far as that is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// The most that each asks for in one hour (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_an_hour: Option<u32>,
    /// The hours of the week in which they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<WeekHours>,
}

impl Declared {
    /// Whether nothing is.
    pub const fn is_none(&self) -> bool {
        self.calls_an_hour.is_none() && self.hours.is_none()
    }
}

/// The same hours of some days of the week, at a place whose clock has a fixed distance from UTC, so that everybody
/// reckons alike. Written `mon-fri 08:00-18:00 +01:00`; `fri-sat 22:00-06:00 Z` ends on Sunday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekHours {
    /// The first and the last day, from Monday on.
    days: [u8; 2],
    /// When they begin and end on each, in minutes of the day: at or before that, they end on the next one.
    from: i16,
    until: i16,
    /// Minutes that its clock is ahead of UTC.
    offset: i16,
}

impl WeekHours {
    /// Whether `at` is one of these hours.
    pub fn include(&self, at: Timestamp) -> bool {
        // 1970-01-01 was a Thursday.
        let minute = at.as_seconds().div_euclid(60) + i64::from(self.offset + 3 * DAY);
        let lasts = (self.until - self.from - 1).rem_euclid(DAY) + 1;
        let [first, last] = self.days.map(i16::from);
        (0..=(last - first).rem_euclid(7)).any(|later| {
            let begins = (first + later) * DAY + self.from;
            (minute - i64::from(begins)).rem_euclid(i64::from(WEEK)) < i64::from(lasts)
        })
    }
}

impl fmt::Display for WeekHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, last] = self.days.map(|day| DAYS[usize::from(day)]);
        f.write_str(first)?;
        if first != last {
            write!(f, "-{last}")?;
        }
        let clock = |minutes: i16| format!("{:02}:{:02}", minutes / HOUR, minutes % HOUR);
        write!(f, " {}-{} ", clock(self.from), clock(self.until))?;
        match self.offset {
            0 => f.write_str("Z"),
            ahead @ 1.. => write!(f, "+{}", clock(ahead)),
            behind => write!(f, "-{}", clock(-behind)),
        }
    }
}

impl FromStr for WeekHours {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let read = || {
            let mut words = text.split(' ');
            let (days, hours, offset) = (words.next()?, words.next()?, words.next()?);
            if words.next().is_some() {
                return None;
            }
            let (first, last) = days.split_once('-').unwrap_or((days, days));
            let (from, until) = hours.split_once('-')?;
            let (from, until) = (clock(from)?, clock(until)?);
            let offset = match (offset, offset.split_at_checked(1)?) {
                ("Z", _) => 0,
                (_, ("+", ahead)) => clock(ahead)?,
                (_, ("-", behind)) => -clock(behind)?,
                _ => return None,
            };
            let is_one = from < DAY && until <= DAY && from != until && offset.abs() <= OFFSET_MAX;
            is_one.then_some(Self { days: [day(first)?, day(last)?], from, until, offset })
        };
        read().ok_or_else(|| InvalidName::new(text, "the hours of a week", HOURS_RULE))
    }
}

/// Which day of the week it is, from Monday on.
fn day(name: &str) -> Option<u8> {
    (0..).zip(DAYS).find_map(|(number, day)| (day == name).then_some(number))
}

/// What a clock shows, in minutes.
fn clock(text: &str) -> Option<i16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        let is_two = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<i16>().ok().filter(|_| is_two)
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours <= 24 && minutes < HOUR).then_some(hours * HOUR + minutes)
}

impl Serialize for WeekHours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WeekHours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::spelt::read(deserializer)
    }
}

/// The risk that the service itself sees an instance at, since it departed. Unlike what others say, it ends by
/// itself; until then, it is lowered by a person alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Departed {
    /// The level.
    pub level: RiskLevel,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// When it was last raised, by that in which it departed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub raised: BTreeMap<Departure, Timestamp>,
}

impl Departed {
    /// The level at `now`, if it counts then.
    pub fn level_at(&self, now: Timestamp) -> Option<RiskLevel> {
        (now < self.until).then_some(self.level)
    }

    /// Whether it was raised for `kind` in the hour of `now` already.
    pub fn is_raised(&self, kind: Departure, now: Timestamp) -> bool {
        let hour = |at: Timestamp| at.as_seconds().div_euclid(60 * 60);
        self.raised.get(&kind).is_some_and(|at| hour(*at) == hour(now))
    }

    /// What is known once it is raised at `now` to `level`, until then: it never makes that less.
    #[must_use]
    pub fn raise(
        known: Option<Self>,
        (kind, level): (Departure, RiskLevel),
        (now, until): (Timestamp, Timestamp),
    ) -> Self {
        let mut raised = known.as_ref().map(|known| known.raised.clone()).unwrap_or_default();
        raised.insert(kind, now);
        let known = known.filter(|known| known.level_at(now).is_some());
        let since = known.as_ref().filter(|known| known.level >= level).map(|known| known.since);
        Self {
            level: known.as_ref().map_or(level, |known| known.level.max(level)),
            since: since.unwrap_or(now),
            until: known.map_or(until, |known| known.until.max(until)),
            raised,
        }
    }

    /// Lowers it at `now` to `level`, or to none, if it is greater; says whether it was. What it was raised for in
    /// this hour does not raise it anew.
    pub fn lower(&mut self, level: Option<RiskLevel>, now: Timestamp) -> bool {
        let is_greater = self.level_at(now) > level;
        if is_greater {
            match level {
                Some(level) => self.level = level,
                None => self.until = now,
            }
        }
        is_greater
    }

    /// At what those of its agent begin that begin after it, which did so at what is `known`: that is made no less.
    /// What they do themselves is raised for itself.
    #[must_use]
    pub fn of_new(&self, known: Option<&Self>, now: Timestamp) -> Self {
        let known = known.filter(|known| known.level_at(now).is_some());
        Self {
            level: known.map_or(self.level, |known| known.level.max(self.level)),
            since: self.since,
            until: known.map_or(self.until, |known| known.until.max(self.until)),
            raised: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use RiskLevel::{Low, Medium};
    use proptest::prelude::*;

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    #[test]
    fn hours_of_the_week_are_read_in_one_way_and_written_as_they_were() {
        let check = |text: &str, is_one: bool| {
            let read = text.parse::<WeekHours>().map(|it| it.to_string()).ok();
            assert_eq!(read.as_deref(), is_one.then_some(text));
        };
        check("mon-fri 08:00-18:00 +01:00", true);
        check("sun 00:00-24:00 Z", true);
        check("fri-mon 22:00-06:00 -03:30", true);
        check("mon-sun 23:59-00:00 +14:00", true);
        check("mon-fri 08:00-08:00 Z", false);
        check("mon-fri 24:00-08:00 Z", false);
        check("mon-fri 08:00-24:01 Z", false);
        check("mon-fri 08:60-09:00 Z", false);
        check("mon-fri 8:00-18:00 Z", false);
        check("mon-fri +8:00-18:00 Z", false);
        check("mon-fri 08:00-18:00", false);
        check("mon-fri 08:00-18:00 Z Z", false);
        check("mon-fri 08:00-18:00 +14:01", false);
        check("mon-fri 08:00-18:00 Europe/Berlin", false);
        check("mon-fri 08:00-18:00 €", false);
        check("Mon-fri 08:00-18:00 Z", false);
        check("mon-fri-sun 08:00-18:00 Z", false);
        check("", false);
    }

    #[test]
    fn hours_are_those_of_the_place() {
        let check = |hours: &str, time: &str, expected: bool| {
            let read: WeekHours = hours.parse().expect("hours");
            assert_eq!(read.include(at(time)), expected, "{hours} at {time}");
        };
        // 2027-01-29 was a Friday.
        let office = "mon-fri 08:00-18:00 +01:00";
        check(office, "2027-01-29T07:00:00Z", true);
        check(office, "2027-01-29T06:59:59Z", false);
        check(office, "2027-01-29T16:59:59Z", true);
        check(office, "2027-01-29T17:00:00Z", false);
        check(office, "2027-01-30T10:00:00Z", false);
        let nights = "fri-sun 22:00-06:00 Z";
        check(nights, "2027-01-29T21:59:00Z", false);
        check(nights, "2027-01-29T22:00:00Z", true);
        check(nights, "2027-01-30T05:59:00Z", true);
        check(nights, "2027-01-30T06:00:00Z", false);
        // What begins on Sunday ends in the next week.
        check(nights, "2027-02-01T05:59:00Z", true);
        check(nights, "2027-02-02T05:59:00Z", false);
        let around = "sat-mon 00:00-24:00 -02:00";
        check(around, "2027-01-30T01:59:00Z", false);
        check(around, "2027-01-30T02:00:00Z", true);
        check(around, "2027-01-31T12:00:00Z", true);
        check(around, "2027-02-02T01:59:00Z", true);
        check(around, "2027-02-02T02:00:00Z", false);
        check("thu 00:00-01:00 Z", "1970-01-01T00:30:00Z", true);
        check("wed 00:00-24:00 Z", "1969-12-31T12:00:00Z", true);
    }

    /// It ends by itself, and by a person; nothing that is raised makes it less.
    #[test]
    fn what_is_raised_lasts_until_it_ends_or_somebody_lowers_it() {
        let now = at("2027-01-29T10:30:00Z");
        let later = |minutes: u64| now.plus(Duration::from_mins(minutes));
        let raise = |known, level, from, until| {
            Departed::raise(known, (Departure::Tool, level), (later(from), later(until)))
        };
        let first = raise(None, Medium, 0, 60);
        assert_eq!(
            [0, 59, 60].map(|at| first.level_at(later(at))),
            [Some(Medium), Some(Medium), None]
        );
        let less = raise(Some(first.clone()), Low, 5, 40);
        assert_eq!((less.level, less.since, less.until), (Medium, now, later(60)));
        let more = raise(Some(raise(None, Low, 0, 60)), Medium, 5, 90);
        assert_eq!((more.level, more.since, more.until), (Medium, later(5), later(90)));
        let again = raise(Some(first.clone()), Low, 60, 90);
        assert_eq!((again.level, again.since), (Low, later(60)), "what is over counts no more");

        assert!(
            first.is_raised(Departure::Tool, later(29))
                && !first.is_raised(Departure::Tool, later(30))
        );
        assert!(!first.is_raised(Departure::Data, now));

        let of_new = raise(None, Low, 5, 90).of_new(Some(&first), later(5));
        assert_eq!((of_new.level, of_new.until), (Medium, later(90)), "nothing makes it less");
        assert!(!of_new.is_raised(Departure::Tool, later(5)));
        let of_new = raise(None, Low, 60, 90).of_new(Some(&first), later(60));
        assert_eq!((of_new.level, of_new.until), (Low, later(90)), "what is over counts no more");

        let mut lowered = first.clone();
        assert!(!lowered.lower(Some(Medium), now));
        assert!(lowered.lower(Some(Low), now) && lowered.level_at(later(59)) == Some(Low));
        assert!(lowered.lower(None, later(1)) && lowered.level_at(later(1)).is_none());
        assert!(!lowered.lower(None, later(2)), "it is lowered already");
        assert!(
            lowered.is_raised(Departure::Tool, later(2)),
            "it is not raised anew in the same hour"
        );
    }

    proptest! {
        /// At no time is anybody at less by what is raised, nor whoever begins after them.
        #[test]
        fn r_48_nothing_that_is_raised_makes_a_risk_less(
            steps in prop::collection::vec((0..3_usize, 0..200_i64, 0..300_i64), 1..8),
        ) {
            let minute = |minute: i64| Timestamp::from_seconds(minute * 60);
            let (mut known, mut of_new, mut now) = (None::<Departed>, None::<Departed>, 0);
            for (level, later, lasts) in steps {
                now += later;
                let (level, until) = (RiskLevel::ALL[level], minute(now + lasts));
                let times = (minute(now), until);
                let raised = Departed::raise(known.clone(), (Departure::Tool, level), times);
                let next = raised.of_new(of_new.as_ref(), minute(now));
                for at in (now..now + 600).map(minute) {
                    let level_of = |it: Option<&Departed>| it.and_then(|it| it.level_at(at));
                    let said = (at < until).then_some(level);
                    prop_assert!(level_of(Some(&raised)) >= level_of(known.as_ref()).max(said));
                    prop_assert!(level_of(Some(&next)) >= level_of(of_new.as_ref()));
                    prop_assert!(level_of(Some(&next)) >= level_of(Some(&raised)));
                }
                (known, of_new) = (Some(raised), Some(next));
            }
        }
    }
}
