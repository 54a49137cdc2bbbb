//! By which people come in: the OpenID provider of the configuration.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
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
    (clock, entropy): (&Arc<dyn Clock>, &Arc<dyn Entropy>),
) -> anyhow::Result<Option<Arc<Door>>> {
    let Some(at) = &config.login else { return Ok(None) };
    let people_url = config.people_url();
    let redirect_uri = url("people_url", &format!("{people_url}/login/callback"))?;
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
