//! What a founder signs to be known as themselves, where all who come look alike.

use anyhow::Context as _;
use keys::SigningKey;
use model::{Clock as _, Entropy as _};
use oauth::word::{self, Word};
use serde_json::Value;

use crate::cli::Signed;
use crate::system::{SystemClock, SystemEntropy};

/// The founder's word for what is `said`, if one asks; only then is that made out.
pub(crate) async fn word(
    signed: Signed,
    said: impl Future<Output = anyhow::Result<Value>>,
) -> anyhow::Result<Option<String>> {
    let Signed { founder, key, url } = signed;
    let Some((founder, key)) = founder.zip(key) else { return Ok(None) };
    let command = said.await?;
    let url = url.unwrap_or_else(crate::dev::url);
    let pem = keys::read_private(&key).context("could not read the founder's key")?;
    let pem = String::from_utf8(pem).unwrap_or_default();
    let key = SigningKey::from_pem(&pem)
        .with_context(|| format!("`{}` does not hold a founder's key", key.display()))?;
    made((founder.as_str(), url.trim_end_matches('/')), &key, command).map(Some)
}

/// The word of the founder of `parties` for `command`, to the deployment at the URL that they name too.
pub(crate) fn made(
    parties: (&str, &str),
    key: &SigningKey,
    command: Value,
) -> anyhow::Result<String> {
    let mut jti = [0; 16];
    SystemEntropy::new().fill(&mut jti);
    let now = SystemClock::new().now().as_seconds();
    let (jti, exp) = (keys::base64url(&jti), now + word::LIFETIME_MAX_S);
    Ok(word::make(parties, key, now, &Word { command, jti, exp })?)
}
