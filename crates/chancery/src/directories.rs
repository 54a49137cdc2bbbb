//! `chancery directory`: what is registered of directories, and their tokens, which are made here and
//! never sent.

use std::path::PathBuf;
use std::time::Duration;

use model::{Clock as _, Entropy as _, LoginRule, LoginSubject, Sha256Digest};
use pap::{Command as Asked, DirectoryRegistration, NewToken, SILENCE};

use crate::administer::fresh;
use crate::cli::{Directory, NewBearer, Silence, Subject};
use crate::system::{SystemClock, SystemEntropy};

/// A file, and the token that is written to it once the service has its digest.
pub(crate) type ToWrite = Option<(PathBuf, String)>;

/// What the service is asked, and at which socket.
pub(crate) fn asked(typed: Directory) -> anyhow::Result<(PathBuf, Asked, ToWrite)> {
    Ok(match typed {
        Directory::Add { name, issuer, subject, silence, read_only, token } => {
            let logins = issuer.zip(subject).map(|(issuer, subject)| {
                let subject = match subject {
                    Subject::ExternalId => LoginSubject::ExternalId,
                    Subject::UserName => LoginSubject::UserName,
                };
                LoginRule { issuer, subject }
            });
            let (token, to_write, socket) = made((&name, read_only), token)?;
            let silence_min = silence.map_or(SILENCE, |Silence(minutes)| minutes);
            let said = DirectoryRegistration { name, logins, silence_min, token };
            (socket, Asked::DirectoryAdd(said), to_write)
        }
        Directory::Token { name, alone, read_only, token } => {
            let (token, to_write, socket) = made((&name, read_only), token)?;
            (socket, Asked::DirectoryToken { name, token, alone }, to_write)
        }
        Directory::Adopt { name, person, socket } => {
            (socket.socket, Asked::DirectoryAdopt { name, person }, None)
        }
        Directory::Suspend { name, reason, socket } => {
            (socket.socket, Asked::DirectorySuspend { name, reason }, None)
        }
        Directory::Resume { name, socket } => {
            (socket.socket, Asked::DirectoryResume { name }, None)
        }
        Directory::Silence { name, minutes: Silence(silence_min), socket } => {
            (socket.socket, Asked::DirectorySilence { name, silence_min }, None)
        }
        Directory::List { socket } => (socket.socket, Asked::DirectoryList, None),
    })
}

/// A token of the directory, or the stream, `name`, which reads only or not: what the service is told of it,
/// where it goes, and at which socket.
pub(crate) fn made(
    (name, read_only): (&str, bool),
    asked: NewBearer,
) -> anyhow::Result<(NewToken, ToWrite, PathBuf)> {
    let NewBearer { file, days, socket } = asked;
    let file = fresh(&file)?;
    let (told, token) = new_token((name, read_only), days);
    Ok((told, Some((file, token)), socket.socket))
}

/// A new token of `name` for so many days: what the service is told of it, and itself.
pub(crate) fn new_token((name, read_only): (&str, bool), days: u16) -> (NewToken, String) {
    let mut secret = [0; 32];
    SystemEntropy::new().fill(&mut secret);
    let token = format!("{name}.{}", keys::base64url(&secret));
    let expires = SystemClock::new().now().plus(Duration::from_hours(u64::from(days) * 24));
    let digest = Sha256Digest::of(token.as_bytes());
    (NewToken { digest, expires, read_only }, token)
}
