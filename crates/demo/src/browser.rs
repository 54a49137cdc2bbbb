//! A browser, as far as a person needs one here: cookies, redirects, links and forms.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;

use crate::web::{self, Answer};

/// The most redirects of one page.
const HOPS_MAX: usize = 8;

/// The browser of one person.
#[derive(Debug, Default)]
pub(crate) struct Browser(BTreeMap<String, String>);

impl Browser {
    /// The page at `url`, wherever it leads.
    pub(crate) async fn get(&mut self, url: &str) -> anyhow::Result<Answer> {
        let mut next = url.to_owned();
        for _ in 0..HOPS_MAX {
            let answer = self.send(Request::get(&next), String::new()).await?;
            match answer.header("location") {
                "" => return Ok(answer),
                path if path.starts_with('/') => next = format!("{}{path}", origin(&next)),
                location => location.clone_into(&mut next),
            }
        }
        bail!("`{url}` leads nowhere")
    }

    /// Sends the form of the page at `url`.
    pub(crate) async fn post(
        &mut self,
        url: &str,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let kind = "application/x-www-form-urlencoded";
        let request = Request::post(url).header(header::CONTENT_TYPE, kind);
        let request = request.header(header::ORIGIN, origin(url));
        self.send(request, oauth::form::form(fields)).await
    }

    async fn send(
        &mut self,
        request: http::request::Builder,
        body: String,
    ) -> anyhow::Result<Answer> {
        let own: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header(header::COOKIE, own.join("; "));
        let answer = web::send(request.body(Full::new(Bytes::from(body)))?).await?;
        for set in answer.headers.get_all(header::SET_COOKIE) {
            let pair = set.to_str()?.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').context("a cookie has no name")?;
            self.0.insert(name.to_owned(), value.to_owned());
        }
        Ok(answer)
    }
}

/// `http://ADDRESS` of `url`.
pub(crate) fn origin(url: &str) -> String {
    url.split('/').take(3).collect::<Vec<_>>().join("/")
}

/// What stands in `page` between `before` and the next quotation mark.
pub(crate) fn quoted(page: &str, before: &str) -> anyhow::Result<String> {
    let after = page.split_once(before).and_then(|(_, rest)| rest.split_once('"'));
    let (found, _) = after.with_context(|| format!("the page has no `{before}`"))?;
    Ok(found.to_owned())
}
