//! What can be typed of directories that push who their people are.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};

use super::Socket;

/// Directories that push who their people are (SCIM 2.0).
#[derive(Debug, Subcommand)]
pub(crate) enum Directory {
    /// Register a directory and write its bearer token once.
    Add {
        /// Its name.
        name: String,
        /// The issuer at which its people log in; without it they do not.
        #[arg(long, requires = "subject")]
        issuer: Option<String>,
        /// Which member of its users is the subject at the issuer.
        #[arg(long, requires = "issuer")]
        subject: Option<Subject>,
        /// After how many minutes in which nothing was heard of it its people are unconfirmed (15 unless it is
        /// said); `none`, if it has no heartbeat: nobody waits for it.
        #[arg(long)]
        silence: Option<Silence>,
        /// That the token reads only.
        #[arg(long)]
        read_only: bool,
        #[command(flatten)]
        token: NewBearer,
    },
    /// Give a directory another token and write it once; the one before counts on beside it.
    Token {
        /// Its name.
        name: String,
        /// No other token counts any longer.
        #[arg(long)]
        alone: bool,
        /// That the token reads only.
        #[arg(long)]
        read_only: bool,
        #[command(flatten)]
        token: NewBearer,
    },
    /// Make a person that an administrator added one of a directory's.
    Adopt {
        /// The directory.
        name: String,
        /// The person.
        person: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Suspend a directory: it says nothing any longer. Whom it brought stay as they are.
    Suspend {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Let a directory that was suspended go on.
    Resume {
        /// Its name.
        name: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say anew for how long a directory may say nothing.
    Silence {
        /// Its name.
        name: String,
        /// After how many minutes in which nothing was heard of it its people are unconfirmed; `none`, if it has
        /// no heartbeat: nobody waits for it.
        minutes: Silence,
        #[command(flatten)]
        socket: Socket,
    },
    /// List directories.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// For how many minutes somebody may say nothing; without a bound, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence(pub(crate) Option<u32>);

impl FromStr for Silence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let minutes = text.parse().map(|minutes| Self(Some(minutes)));
        minutes.map_err(|_| "a silence is a number of minutes, or `none`".to_owned())
    }
}

/// A bearer token that is made here; the service is told its digest.
#[derive(Debug, Args)]
pub(crate) struct NewBearer {
    /// Where the token is written (0600); the file must not exist.
    #[arg(long = "token")]
    pub(crate) file: PathBuf,
    /// How many days it counts.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub(crate) days: u16,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

/// A member of a directory's user.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Subject {
    /// Its `externalId`.
    #[value(name = "externalId")]
    ExternalId,
    /// Its `userName`.
    #[value(name = "userName")]
    UserName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_minutes_or_none() {
        let check = |text: &str, expected: Option<Silence>| {
            assert_eq!(text.parse::<Silence>().ok(), expected, "{text}");
        };
        check("60", Some(Silence(Some(60))));
        check("none", Some(Silence(None)));
        for text in ["", "None", "-1", "15m", "1.5", "4294967296"] {
            check(text, None);
        }
    }
}
