//! What can be typed of risks.

use clap::{Subcommand, ValueEnum};
use model::{RiskLevel, RiskTarget};

use super::{Signed, Socket};

/// What somebody who watches says of an agent, an instance or a person, for policy to read.
#[derive(Debug, Subcommand)]
pub(crate) enum Risk {
    /// Say that something is at risk: it counts at once. An instance at high risk is quarantined.
    Raise {
        /// Of what: `agent/NAME`, `instance/ID` or `person/NAME`.
        what: RiskTarget,
        /// How great it is.
        level: Level,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say that it is less so, or not at all any more. Not for the agent's own sponsor.
    Lower {
        /// Of what: `agent/NAME`, `instance/ID` or `person/NAME`.
        what: RiskTarget,
        /// How great it still is.
        level: LevelLeft,
        /// What was found.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
}

/// A level of risk.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    Low,
    Medium,
    High,
}

/// What is left of a risk.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LevelLeft {
    None,
    Low,
    Medium,
}

impl From<Level> for RiskLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Low => Self::Low,
            Level::Medium => Self::Medium,
            Level::High => Self::High,
        }
    }
}

impl From<LevelLeft> for Option<RiskLevel> {
    fn from(level: LevelLeft) -> Self {
        match level {
            LevelLeft::None => None,
            LevelLeft::Low => Some(RiskLevel::Low),
            LevelLeft::Medium => Some(RiskLevel::Medium),
        }
    }
}
