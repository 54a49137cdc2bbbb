//! By which people come in: the OpenID provider of the configuration.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use api::Door;
use keys::SigningKey;
use login::{
    ClientAuthentication, ClientSecret, Cookies, EndpointUrl, Login, Outbound, Provider, Sessions,
    Settings, SignatureAlgorithm,
};
use model::{Clock, Entropy};
use outbound::{Fetcher, Trust, http_client};

use crate::config::{Config, LoginAt};

/// The algorithms by which a provider may sign.
const ALGORITHMS: [SignatureAlgorithm; 4] = [
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::EdDsa,
];

/// Where people come in, if the configuration says where they log in.
pub(crate) fn door(
    config: &Config,
    is_for_development: bool,
    (clock, entropy): (&Arc<dyn Clock>, &Arc<dyn Entropy>),
) -> anyhow::Result<Option<Arc<Door>>> {
    let Some(at) = &config.login else { return Ok(None) };
    let people_url = config.people_url();
    let redirect_uri = url("people_url", &format!("{people_url}/login/callback"))?;
    // Browsers do not tell the ports of a host apart: whatever listens at another one is sent the
    // cookie of whoever is logged in, and is them.
    ensure!(
        is_for_development || !redirect_uri.is_loopback(),
        "`people_url`: `{people_url}` is plain http, where every process of this machine can take \
         the session of whoever logs in: say by which https URL people come, or found a deployment \
         for development (`chancery init --development`)"
    );
    let cookies = Cookies::of(&redirect_uri);
    let settings = settings(at, redirect_uri)?;
    let provider = Provider::new(settings).context("`login` describes no provider")?;
    let fetcher = Fetcher::new(Trust::default()).context("could not set up fetching")?;
    let client = http_client().context("could not set up the way to the provider")?;
    let transport = Arc::new(Outbound::new(fetcher, client));
    let login = Login::new(provider, transport, clock.clone(), entropy.clone());
    let sessions = Sessions::new(clock.clone(), entropy.clone());
    Ok(Some(Arc::new(Door { login, sessions, cookies })))
}

fn settings(at: &LoginAt, redirect_uri: EndpointUrl) -> anyhow::Result<Settings> {
    let issuer = url("login.issuer", &at.issuer)?;
    let mut settings =
        Settings::new(issuer, at.client_id.clone(), authentication(at)?, redirect_uri);
    settings.scopes.clone_from(&at.scopes);
    settings.groups_claim.clone_from(&at.groups_claim);
    settings.acr_values.clone_from(&at.acr_values);
    settings.max_age = at.max_age_s.map(Duration::from_secs);
    settings.other_hosts.clone_from(&at.other_hosts);
    settings.other_audiences.clone_from(&at.other_audiences);
    if let Some(name) = &at.signed_by {
        let known = ALGORITHMS.into_iter().find(|known| known.as_str() == name);
        let all = ALGORITHMS.map(SignatureAlgorithm::as_str).join("`, `");
        settings.signed_by =
            known.with_context(|| format!("`login.signed_by`: `{name}` is not one of `{all}`"))?;
    }
    Ok(settings)
}

fn authentication(at: &LoginAt) -> anyhow::Result<ClientAuthentication> {
    match (&at.key, &at.client_secret_file) {
        (Some(path), None) => {
            let pem = keys::read_private(path).context("could not read `login.key`")?;
            let pem = String::from_utf8(pem).context("`login.key` is not PEM")?;
            let key = SigningKey::from_pem(&pem).context("`login.key` is no key")?;
            Ok(ClientAuthentication::PrivateKeyJwt(Arc::new(key)))
        }
        (None, Some(path)) => {
            let secret = ClientSecret::read(path);
            let secret = secret.context("could not read `login.client_secret_file`")?;
            Ok(ClientAuthentication::Secret(secret))
        }
        _ => bail!("`login`: name either `key` or `client_secret_file`"),
    }
}

fn url(key: &str, text: &str) -> anyhow::Result<EndpointUrl> {
    EndpointUrl::parse(text).with_context(|| format!("`{key}`: `{text}` cannot be used"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use keys::KeyAlgorithm;
    use testkit::{ManualClock, SeededEntropy};

    use super::*;
    use crate::system::{SystemClock, SystemEntropy};

    /// What keeps a deployment in `dir` with these lines below `login` from starting, in words.
    fn refused(dir: &Path, lines: &[&str]) -> Option<String> {
        let path = dir.join("chancery.yaml");
        let text = format!("state_dir: state\nlogin:\n  {}\n", lines.join("\n  "));
        std::fs::write(&path, text).expect("it can be written");
        let config = match crate::config::read(&path, std::iter::empty()) {
            Ok(config) => config,
            Err(error) => return Some(error.to_string()),
        };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        match door(&config, true, (&clock, &entropy)) {
            Ok(door) => door.is_none().then(|| "there is no door".to_owned()),
            Err(error) => Some(format!("{error:#}")),
        }
    }

    /// A directory with keys and secrets that can be used, and others.
    fn place() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let key = key.to_pem().expect("it can be written");
        let private = |name: &str, bytes: &[u8]| {
            keys::write_private(&dir.path().join(name), bytes).expect("it can be written");
        };
        private("login.pem", key.as_bytes());
        private("open.pem", key.as_bytes());
        private("none.pem", b"no key");
        private("secret", b"of the provider\n");
        private("two-lines", b"of\nthe provider\n");
        private("open-secret", b"of the provider\n");
        for name in ["open.pem", "open-secret"] {
            let mode = std::fs::Permissions::from_mode(0o640);
            std::fs::set_permissions(dir.path().join(name), mode).expect("they are ours");
        }
        dir
    }

    #[test]
    fn what_is_said_of_the_provider_is_checked_before_anything_is_served() {
        let dir = place();
        let check = |lines: &[&str], expected: Option<&str>| {
            let refused = refused(dir.path(), lines);
            let is_expected = match (&refused, expected) {
                (Some(refused), Some(expected)) => refused.contains(expected),
                (None, None) => true,
                _ => false,
            };
            assert!(is_expected, "{lines:?}: {refused:?}");
        };
        let (issuer, id) = ("issuer: https://idp.example", "client_id: chancery");
        let (key, secret) = ("key: login.pem", "client_secret_file: secret");
        check(&[issuer, id, key], None);
        check(&[issuer, id, secret], None);
        check(&["issuer: http://127.0.0.1:9", id, key], None);

        for wrong in ["idp.example", "http://idp.example", "https://me@idp.example", "''"] {
            check(&[&format!("issuer: {wrong}"), id, key], Some("`login`: its `issuer`"));
        }
        check(&["issuer: https://idp.example#x", id, key], Some("`login.issuer`"));
        check(&[id, key], Some("missing field `issuer`"));
        check(&[issuer, key], Some("missing field `client_id`"));
        check(&[issuer, id], Some("exactly one of `key` and `client_secret_file`"));
        check(&[issuer, id, key, secret], Some("exactly one of `key` and `client_secret_file`"));
        check(&[issuer, id, "kay: login.pem"], Some("did you mean `login.key`?"));
        check(&[issuer, id, "key: absent.pem"], Some("could not read `login.key`"));
        check(&[issuer, id, "key: open.pem"], Some("mode 640"));
        check(&[issuer, id, "key: none.pem"], Some("`login.key` is no key"));
        check(&[issuer, id, "client_secret_file: open-secret"], Some("mode 640"));
        let two = Some("could not read `login.client_secret_file`");
        check(&[issuer, id, "client_secret_file: two-lines"], two);
        check(&[issuer, id, key, "signed_by: HS256"], Some("`HS256` is not one of"));
        check(&[issuer, id, key, "max_age_s: soon"], Some("the configuration does not fit"));
    }

    /// What is told of a login whose pages are at `people_url`, if it is refused.
    fn refused_at(people_url: &str, is_for_development: bool) -> Option<String> {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        keys::write_private(&dir.path().join("secret"), b"a secret").expect("it is written");
        let path = dir.path().join("chancery.yaml");
        let text = format!(
            "state_dir: state\n{people_url}login:\n  issuer: https://idp.example\n  \
             client_id: chancery\n  client_secret_file: secret\n"
        );
        std::fs::write(&path, text).expect("it is written");
        let config = crate::config::read(&path, std::iter::empty()).expect("it is in order");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
        let door = door(&config, is_for_development, (&clock, &entropy));
        door.err().map(|error| error.to_string())
    }

    #[test]
    fn nobody_logs_in_over_plain_http_but_for_development() {
        let check = |people_url: &str, is_refused: bool| {
            let told = refused_at(people_url, false);
            let expected = is_refused.then_some(true);
            let says = told.map(|told| told.contains("say by which https URL people come"));
            assert_eq!(says, expected, "{people_url}");
            assert_eq!(refused_at(people_url, true), None, "{people_url}");
        };
        check("", true);
        check("people_url: http://localhost:8421\n", true);
        check("people_url: http://127.0.0.1:8421\n", true);
        check("people_url: 'http://[::1]:8421'\n", true);
        check("people_url: https://localhost:8421\n", false);
        check("people_url: https://chancery.example\n", false);
    }
}
