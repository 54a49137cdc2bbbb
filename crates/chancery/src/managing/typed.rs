//! What whoever manages a stream hands over, in files or as it is typed.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use http::header;
use secevent::subject_request;
use serde_json::Value;

use crate::config::Signals;
use crate::shown::Tokens;
use crate::sources;
use crate::system::SystemClock;

/// How many bytes of a stream's token nobody can guess.
const TOKEN_BYTES: usize = 32;

/// What shows a transmitter who asks.
pub(super) fn shown(file: &Path) -> anyhow::Result<String> {
    let (name, value) = sources::header(file)?;
    let text = value.to_str().unwrap_or_default();
    let is_bearer = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    ensure!(
        name == header::AUTHORIZATION && is_bearer,
        "`{}` does not hold one line of the form `Authorization: Bearer …`",
        file.display()
    );
    Ok(text.to_owned())
}

/// The same, fetched where `signals` say that tokens for the stream `name` are.
pub(super) async fn fetched(signals: &Signals, name: &str) -> anyhow::Result<String> {
    let from = signals.oauth.get(name).with_context(|| {
        format!("say `--header-file`, or in `signals.oauth.{name}` where a token is fetched")
    })?;
    let tokens = Tokens::new(from, &signals.keys, Arc::new(SystemClock::new()))?;
    Ok(tokens.header(None).await?.value.to_str()?.to_owned())
}

/// The token of the stream `name` that `file` holds.
pub(super) fn pushing(file: &Path, name: &str) -> anyhow::Result<String> {
    let token = String::from_utf8(keys::read_private(file)?).unwrap_or_default();
    let token = token.trim();
    // No other secret is given away by mistake.
    let secret = token.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
    let secret = secret.and_then(keys::from_base64url);
    ensure!(
        secret.is_some_and(|secret| secret.len() == TOKEN_BYTES),
        "`{}` holds no token of the stream: see `stream token`",
        file.display()
    );
    Ok(token.to_owned())
}

/// The request about the subject that is `typed`, or stands where that says: `@FILE`, or `-`.
pub(super) fn subject_asked(
    id: &str,
    typed: &str,
    verified: Option<bool>,
) -> anyhow::Result<Value> {
    let limits = json::Limits { bytes: secevent::REQUEST_BYTES_MAX, depth: 4 };
    let most = limits.bytes as u64 + 1;
    let mut text = Vec::new();
    match (typed, typed.strip_prefix('@')) {
        ("-", _) => std::io::stdin().take(most).read_to_end(&mut text),
        (_, Some(file)) => {
            std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut text))
        }
        _ => typed.as_bytes().read_to_end(&mut text),
    }
    .with_context(|| format!("could not read `{typed}`"))?;
    let subject = json::parse(&text, limits).context("`--subject` is not JSON")?;
    subject_request(id, &subject, verified).context("`--subject` is no subject (RFC 9493)")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_other_secret_is_taken_for_a_token_of_the_stream() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let check = |text: &str, is_one: bool| {
            let file = dir.path().join("token");
            let _ = std::fs::remove_file(&file);
            keys::write_private(&file, text.as_bytes()).expect("it is written");
            assert_eq!(pushing(&file, "caep").is_ok(), is_one, "{text}");
        };
        let secret = keys::base64url(&[7; TOKEN_BYTES]);
        check(&format!("caep.{secret}\n"), true);
        check(&format!("risc.{secret}"), false);
        check(&format!("caep2.{secret}"), false);
        check(&format!("caep.{secret}x"), false);
        check("caep.", false);
        check("Authorization: Bearer x", false);
    }

    #[test]
    fn a_subject_is_typed_or_read() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let file = dir.path().join("subject");
        let subject = json!({ "format": "email", "email": "ann@chancery.example" }).to_string();
        std::fs::write(&file, &subject).expect("it is written");
        let typed = subject_asked("s1", &subject, None).expect("it is a subject");
        let read = subject_asked("s1", &format!("@{}", file.display()), None);
        assert_eq!(read.expect("it is a subject"), typed);
        assert!(subject_asked("s1", "@/nowhere", None).is_err());
        assert!(subject_asked("s1", "{}", None).is_err());
    }
}
