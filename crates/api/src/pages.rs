//! The pages that people see: plain HTML in which every text is escaped.

use std::fmt::Write as _;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use model::{Mandate, MandateBasis, PersonId};
use pap::{Given, Shown};

use crate::people::with_cookies;

/// What a page with forms belongs to.
pub(crate) struct Page<'a> {
    /// Its path.
    pub(crate) path: &'a str,
    /// Who is logged in.
    pub(crate) person: &'a PersonId,
    /// The token of the session, for its forms.
    pub(crate) csrf: &'a str,
}

/// A page that tells one thing.
pub(crate) fn told(status: StatusCode, title: &str, text: &str) -> Response {
    page(status, title, &format!("<p>{}</p>", escape(text)))
}

/// Sends the browser on to `to`, holding `cookies`.
pub(crate) fn see_other(to: &str, cookies: &[HeaderValue]) -> Response {
    let Ok(to) = HeaderValue::from_str(to) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = login::page_headers();
    let response = (StatusCode::SEE_OTHER, headers, [(header::LOCATION, to)]).into_response();
    with_cookies(response, cookies)
}

/// To see the page at `path` one logs in: by a link, as a form could not lead to the provider.
pub(crate) fn log_in(path: &str) -> Response {
    let link = format!("<p><a href=\"/login?to={}\">Log in</a></p>", escape(path));
    page(StatusCode::FORBIDDEN, "Log in first", &link)
}

/// Whoever logged in is not one of the people here.
pub(crate) fn nobody(path: &str) -> Response {
    let text = "<p>You are logged in at your organisation, but you are not one of the active people \
                here. Ask whoever administers this service.</p>";
    let link = format!("<p><a href=\"/login?to={}\">Log in again</a></p>", escape(path));
    page(StatusCode::FORBIDDEN, "Not known here", &format!("{text}{link}"))
}

/// What an agent asks, with what one can answer. `No` comes first: it is what the Enter key sends.
/// The answer to a client leads on to it, which the page has to say.
pub(crate) fn consent(of: &Page<'_>, shown: &Shown) -> Response {
    let terms = shown.terms.0.iter().fold(String::new(), |mut terms, (name, value)| {
        let _ = writeln!(terms, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
        terms
    });
    let digest = shown.terms.digest();
    let until = match shown.redirect {
        Some(_) => String::new(),
        None => format!(
            "<p><label>Until the end of (UTC) <input type=\"date\" name=\"day\" max=\"{}\"></label> \
             <button name=\"choice\" value=\"until\">Yes, for any number of tasks until then</button>\
             </p>\n",
            escape(shown.until.to_string().get(..10).unwrap_or_default()),
        ),
    };
    let body = format!(
        "<p>This agent asks to work on your behalf, {person}. What you agree to is this, and \
         nothing else:</p>\n<dl>\n{terms}</dl>\n\
         <form method=\"post\" action=\"{path}\">\n{token}\
         <input type=\"hidden\" name=\"shown\" value=\"{digest}\">\n\
         <p><button name=\"choice\" value=\"refuse\">No</button></p>\n\
         <p><button name=\"choice\" value=\"once\">Yes, for one task of 8 hours at most</button></p>\n\
         {until}</form>\n<p>You can answer until {expires}, and take your consent back at any time: \
         <a href=\"/mandates\">what you consented to</a>.</p>",
        person = escape(of.person.as_str()),
        path = escape(of.path),
        token = token(of),
        expires = escape(&shown.expires.to_string()),
    );
    let mut page = page(StatusCode::OK, "An agent asks for your consent", &body);
    if let Some(redirect) = &shown.redirect {
        let policy = login::page_policy(&redirect.form_action());
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    page
}

/// What became of an answer.
pub(crate) fn answered(given: Option<&Mandate>) -> Response {
    let text = match given {
        Some(mandate) => format!(
            "<p>The agent {} may work on your behalf until {}. \
             <a href=\"/mandates\">What you consented to</a>.</p>",
            escape(mandate.agent.as_str()),
            escape(&mandate.valid_until.to_string()),
        ),
        None => "<p>You refused. The agent is told so.</p>".to_owned(),
    };
    page(StatusCode::OK, "Answered", &text)
}

/// What a person consented to, with what takes it back.
pub(crate) fn mandates(of: &Page<'_>, given: &[Given]) -> Response {
    let mut rows = String::new();
    for Given { mandate, is_valid } in given {
        let once = matches!(mandate.basis, MandateBasis::Consented { once: true, .. });
        let how = if once { "one task" } else { "any number of tasks" };
        let _ = write!(
            rows,
            "<li>{} for {}: {how}, from {} until {}",
            escape(mandate.agent.as_str()),
            escape(mandate.purpose.as_str()),
            escape(&mandate.given.to_string()),
            escape(&mandate.valid_until.to_string()),
        );
        let _ = match is_valid {
            true => write!(
                rows,
                "<form method=\"post\" action=\"/mandates/{}\">{}<button>Take it back</button></form>",
                mandate.id,
                token(of)
            ),
            false => write!(rows, " (over)"),
        };
        rows.push_str("</li>\n");
    }
    let list =
        if rows.is_empty() { "<p>Nothing.</p>".to_owned() } else { format!("<ul>{rows}</ul>") };
    let out = format!(
        "<form method=\"post\" action=\"/logout\">{}<button>Log out, {}</button></form>",
        token(of),
        escape(of.person.as_str())
    );
    page(StatusCode::OK, "What you consented to", &format!("{list}\n{out}"))
}

fn token(of: &Page<'_>) -> String {
    format!("<input type=\"hidden\" name=\"csrf\" value=\"{}\">\n", escape(of.csrf))
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title></head>\n\
         <body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    );
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, login::page_headers(), kind, text).into_response()
}

/// `text` as it stands in HTML, in an element or in a quoted attribute, with what is not seen made
/// visible.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in mcp::render_untrusted(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_040f_no_text_ends_its_element_or_hides_a_part() {
        let check = |text: &str, expected: &str| assert_eq!(escape(text), expected);
        check("</dd><script>x('&\")", "&lt;/dd&gt;&lt;script&gt;x(&#39;&amp;&quot;)");
        check("pay\u{202e}001", "pay\\u{202e}001");
        check("a\u{200b}b", "a\\u{200b}b");
        check("Grüße", "Grüße");
    }
}
