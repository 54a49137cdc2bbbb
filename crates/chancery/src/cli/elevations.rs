//! What can be typed of elevations.

use std::time::Duration;

use clap::Subcommand;

use super::{Signed, Socket};

/// What the holder of a task may do beyond it, for a while: one person asks, another approves.
#[derive(Debug, Subcommand)]
pub(crate) enum Elevation {
    /// Ask for one: it waits an hour for somebody else's approval.
    Ask {
        /// The task; its holder alone may do it, and nobody to whom that hands work on.
        #[arg(long)]
        task: String,
        /// Its name; policy may refer to it.
        #[arg(long)]
        name: String,
        /// A tool (`SERVER/TOOL`); may be repeated.
        #[arg(long = "tool", required = true)]
        tools: Vec<String>,
        /// The most calls by it.
        #[arg(long)]
        max_calls: Option<u64>,
        /// For how long from its approval, an hour at most (`90s`, `15m`, `1h`).
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        lasts: Duration,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// Approve what somebody else asked for.
    Approve {
        /// Its id.
        id: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// Take one back: it counts for nothing at once, also what is under way.
    Revoke {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// List elevations, whatever became of them.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// The time `text`: a number of seconds, minutes or hours.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let form = || format!("`{text}` is not a time such as `90s`, `15m` or `1h`");
    let (number, seconds) = [('s', 1), ('m', 60), ('h', 3_600)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .ok_or_else(form)?;
    let number: u64 = number.parse().map_err(|_| form())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3_600), ("0s", 0)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        let most = u64::MAX.to_string() + "h";
        for wrong in ["", "s", "15", "15mm", "-1m", "1.5h", "1d", "1 h", most.as_str()] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
