//! The pages that people see: plain HTML in which every text is escaped.

use std::fmt::Write as _;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use model::{Device, MandateBasis, PersonId, Timestamp};
use pap::{Answered, Given, REASON_MAX, Shown, Sponsored, Stands, Terms};

use crate::people::with_cookies;

/// Where pages find how they look.
pub(crate) const STYLE_PATH: &str = "/style.css";

/// Where browsers find what stands beside the title.
pub(crate) const ICON_PATH: &str = "/icon.svg";

/// How pages look.
pub(crate) async fn style() -> Response {
    beside("text/css; charset=utf-8", include_str!("pages.css"))
}

/// What stands beside the title of a page: a seal.
pub(crate) async fn icon() -> Response {
    beside("image/svg+xml", include_str!("icon.svg"))
}

/// What browsers fetch for every page, and keep for a while.
fn beside(kind: &'static str, text: &'static str) -> Response {
    let kept = [(header::CACHE_CONTROL, "public, max-age=600")];
    ([(header::CONTENT_TYPE, kind)], [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], kept, text)
        .into_response()
}

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
    page(status, title, &format!("<p>{}</p>", escape(&sentence(text))))
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
    let why = "<p>This page is for whoever is logged in at your organisation.</p>";
    let link = log_in_link(path, "Log in");
    page(StatusCode::FORBIDDEN, "Log in first", &format!("{why}{link}"))
}

/// What begins the query of a login for which the provider asks who it is, whomever it knows the browser
/// for.
pub(crate) const ANEW: &str = "prompt=login&";

/// Whoever logged in is not one of the people here.
pub(crate) fn nobody(path: &str) -> Response {
    let text = "<p>You are logged in at your organisation, but you are not one of the active people \
                here, or you logged in there before your sessions were ended. Log in again, or ask \
                whoever administers this service.</p>";
    let link = format!("<p><a href=\"/login?{ANEW}to={}\">Log in again</a></p>", escape(path));
    page(StatusCode::FORBIDDEN, "Not known here", &format!("{text}{link}"))
}

/// A login that failed, with where to try it again, if that is known.
pub(crate) fn not_logged_in(status: StatusCode, why: &str, again: Option<&str>) -> Response {
    let why = format!("<p>{}</p>", escape(&sentence(why)));
    let link = again.map(|path| log_in_link(path, "Try again")).unwrap_or_default();
    page(status, "Not logged in", &format!("{why}{link}"))
}

/// What an agent asks, with what one can answer. `No` comes first: it is what the Enter key sends.
/// The answer to a client leads on to it, which the page has to say.
pub(crate) fn consent(of: &Page<'_>, shown: &Shown) -> Response {
    let terms = shown.terms.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let longer = match shown.redirect {
        // What a client asks for is one task.
        Some(_) => String::new(),
        None => format!(
            "<fieldset><legend>Or for longer</legend>\n\
             <p><label for=\"day\">The last day (UTC), {last} at the latest</label></p>\n\
             <p><input type=\"date\" id=\"day\" name=\"day\" max=\"{last}\" required> \
             <button name=\"choice\" value=\"until\">\
             Yes, for any number of tasks until then</button></p>\n</fieldset>\n",
            last = escape(shown.until.to_string().get(..10).unwrap_or_default()),
        ),
    };
    let body = format!(
        "<p>This agent asks to work on your behalf, {person}. What you agree to is this, and \
         nothing else. Answer only what you yourself set going just now: whoever sent you here, you \
         would consent for yourself.</p>\n{terms}\
         <form method=\"post\" action=\"{path}\">\n{token}\
         <input type=\"hidden\" name=\"shown\" value=\"{digest}\">\n\
         <fieldset><legend>Your answer</legend>\n\
         <p><button name=\"choice\" value=\"refuse\" formnovalidate>No</button></p>\n\
         <p><button name=\"choice\" value=\"once\" formnovalidate>\
         Yes, for one task of 8 hours at most</button></p>\n</fieldset>\n\
         {longer}</form>\n<p>You can answer until {expires}, and take your consent back at any time, at \
         <a href=\"/mandates\">what you consented to</a>.</p>",
        person = escape(of.person.as_str()),
        terms = described(terms),
        path = escape(of.path),
        token = token(of),
        digest = shown.terms.digest(),
        expires = moment(shown.expires),
    );
    let mut page = page(StatusCode::OK, "An agent asks for your consent", &body);
    if let Some(redirect) = &shown.redirect {
        let policy = login::page_policy(&redirect.form_action());
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    page
}

/// Where one types the code that a device shows.
pub(crate) fn device_code(of: &Page<'_>) -> Response {
    let body = format!(
        "<p>Type the code that a program on your own device shows you just now. If somebody sent you a \
         code, or asked you to come here, do not: programs on <em>their</em> device would act on your \
         word.</p>\n<form method=\"post\" action=\"{}\">\n{}\
         <p><label for=\"code\">The code</label></p>\n\
         <p><input id=\"code\" name=\"code\" autocomplete=\"off\" autocapitalize=\"characters\" \
         spellcheck=\"false\" maxlength=\"32\" required> <button>Go on</button></p>\n</form>",
        escape(of.path),
        token(of),
    );
    page(StatusCode::OK, "Type the code of your device", &body)
}

/// What a device asks that shows `code`, with what one can answer. `No` comes first.
pub(crate) fn device(of: &Page<'_>, code: &str, terms: &Terms) -> Response {
    let shown = terms.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let body = format!(
        "<p>If you say yes, {person}, every program on this device that can read its key acts as this \
         agent, on your word and without asking you again. Your own terminal shows the same beginning \
         of the key.</p>\n{terms}\
         <form method=\"post\" action=\"{path}\">\n{token}\
         <input type=\"hidden\" name=\"code\" value=\"{code}\">\n\
         <input type=\"hidden\" name=\"shown\" value=\"{digest}\">\n\
         <fieldset><legend>Your answer</legend>\n\
         <p><button name=\"choice\" value=\"refuse\">No</button></p>\n\
         <p><button name=\"choice\" value=\"enrol\">Yes, it is my device</button></p>\n\
         </fieldset>\n</form>",
        person = escape(of.person.as_str()),
        terms = described(shown),
        path = escape(of.path),
        token = token(of),
        code = escape(code),
        digest = terms.digest(),
    );
    page(StatusCode::OK, "A device asks to be enrolled", &body)
}

/// That a device was enrolled.
pub(crate) fn enrolled(device: &Device) -> Response {
    let text = format!(
        "<p>The device with the key {} vouches for instances of the agent {} until {}. It goes on by \
         itself.</p>",
        escape(&device.id.fingerprint()),
        escape(device.agent.as_str()),
        moment(device.valid_until),
    );
    page(StatusCode::OK, "Enrolled", &text)
}

/// Nobody can tell whether something was done.
pub(crate) fn unknown(status: StatusCode) -> Response {
    let text = "<p>It may have been done. Look at <a href=\"/mandates\">what you consented to</a> before \
                you answer again.</p>";
    page(status, "Not known", text)
}

/// What became of an answer.
pub(crate) fn answered(answered: &Answered) -> Response {
    let text = match answered {
        Answered::Given(mandate) => format!(
            "<p>The agent {} may work on your behalf until {}. You can take that back at any time, \
             at <a href=\"/mandates\">what you consented to</a>.</p>",
            escape(mandate.agent.as_str()),
            moment(mandate.valid_until),
        ),
        Answered::Refused => "<p>You refused. The agent is told so.</p>".to_owned(),
    };
    page(StatusCode::OK, "Answered", &text)
}

/// What a person consented to, with what takes it back.
pub(crate) fn mandates(of: &Page<'_>, given: &[Given]) -> Response {
    let items: String = given.iter().map(|given| item(of, given)).collect();
    let list = match items.as_str() {
        "" => "<p>Nothing: no agent works on your behalf by your consent.</p>".to_owned(),
        items => format!("<ul class=\"given\">\n{items}</ul>"),
    };
    let out = format!(
        "<form method=\"post\" action=\"/logout\">{}<button>Log out, {}</button></form>",
        token(of),
        escape(of.person.as_str())
    );
    page(StatusCode::OK, "What you consented to", &format!("{list}\n{out}"))
}

/// One thing that a person consented to.
fn item(of: &Page<'_>, Given { mandate, is_valid }: &Given) -> String {
    let once = matches!(mandate.basis, MandateBasis::Consented { once: true, .. });
    let (from, until) = (moment(mandate.given), moment(mandate.valid_until));
    let terms = [
        ("What for", mandate.purpose.as_str()),
        ("How often", if once { "one task" } else { "any number of tasks" }),
        ("From", &from),
        ("Until", &until),
    ];
    let agent = escape(mandate.agent.as_str());
    let end = match is_valid {
        true => format!(
            "<form method=\"post\" action=\"/mandates/{}\">{}\
             <button aria-label=\"Take it back: {agent}, {}\">Take it back</button></form>",
            mandate.id,
            token(of),
            escape(mandate.purpose.as_str()),
        ),
        false => "<p>It is over.</p>".to_owned(),
    };
    format!("<li><h2>{agent}</h2>\n{}{end}</li>\n", described(terms.into_iter()))
}

/// What a person answers for, with what renews, affirms or takes over, and says what it remembers.
pub(crate) fn sponsored(of: &Page<'_>, sponsored: &[Sponsored]) -> Response {
    let items: String = sponsored.iter().map(|sponsored| agent(of, sponsored)).collect();
    let list = match items.as_str() {
        "" => "<p>You answer for no agent, and none waits for you.</p>".to_owned(),
        items => format!("<ul class=\"given\">\n{items}</ul>"),
    };
    page(StatusCode::OK, "What you answer for", &list)
}

/// One agent that a person answers for or keeps running, or may take over.
fn agent(of: &Page<'_>, Sponsored { agent, stands }: &Sponsored) -> String {
    let name = escape(agent.name.as_str());
    let purposes: Vec<_> = agent.purposes.iter().map(model::PurposeId::as_str).collect();
    let purposes = purposes.join(", ");
    let until = moment(agent.leased_until());
    let terms = [
        ("What for", purposes.as_str()),
        ("Sponsor", agent.sponsor.as_str()),
        ("Goes on until", until.as_str()),
    ];
    let form = |inner: &str| {
        format!("<form method=\"post\" action=\"/agents/{name}\">{}{inner}</form>", token(of))
    };
    let act = match stands {
        Stands::Answered => form(
            "<p>You answer for it. Unless you say before that it is to go on, it ends.</p>\
             <button name=\"choice\" value=\"renew\">It is to go on for 30 days</button>",
        ),
        Stands::ToAffirm => form(
            "<p>It stands still since your unit, your manager, your roles or your eligible groups changed.</p>\
             <button name=\"choice\" value=\"affirm\">I still answer for it</button>",
        ),
        Stands::Vacant => form(&format!(
            "<p>It stands still: its sponsor answers for it no longer. What it was given before is \
             over.</p><p><label for=\"reason-{name}\">Why you take it over</label></p>\
             <p><input id=\"reason-{name}\" name=\"reason\" maxlength=\"{REASON_MAX}\" required> \
             <button name=\"choice\" value=\"take-over\">Take it over</button></p>"
        )),
        Stands::Running => String::new(),
    };
    let memory = if agent.technical_owner == *of.person {
        form(
            "<p>You keep it running, and answer for what it remembers from one task to the next.</p>\
             <button name=\"choice\" value=\"forget\">It forgets what it read under another \
             mandate</button> <button name=\"choice\" value=\"remember\">It remembers all</button>",
        )
    } else {
        String::new()
    };
    format!("<li><h2>{name}</h2>\n{}{act}{memory}</li>\n", described(terms.into_iter()))
}

/// Names and values, as a list.
fn described<'a>(terms: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    // Each value by itself: letters of one that are written from right to left turn nothing else.
    let list = terms.fold(String::new(), |mut list, (name, value)| {
        let _ = writeln!(list, "<dt>{}</dt><dd><bdi>{}</bdi></dd>", escape(name), escape(value));
        list
    });
    format!("<dl>\n{list}</dl>\n")
}

/// `time` to the minute.
fn moment(time: Timestamp) -> String {
    let text = time.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => escape(&format!("{day} {minute} UTC")),
        _ => escape(&text),
    }
}

/// A message as a sentence.
fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

fn log_in_link(path: &str, text: &str) -> String {
    format!("<p><a href=\"/login?to={}\">{text}</a></p>", escape(path))
}

fn token(of: &Page<'_>) -> String {
    format!("<input type=\"hidden\" name=\"csrf\" value=\"{}\">\n", escape(of.csrf))
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} - Chancery</title><link rel=\"icon\" href=\"{ICON_PATH}\">\
         <link rel=\"stylesheet\" href=\"{STYLE_PATH}\"></head>\n\
         <body>\n<header>Chancery</header>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
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
    fn a_message_is_told_as_a_sentence() {
        assert_eq!(sentence("try again later"), "Try again later.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn n_040f_no_text_ends_its_element_or_hides_a_part() {
        let check = |text: &str, expected: &str| assert_eq!(escape(text), expected);
        check("</dd><script>x('&\")", "&lt;/dd&gt;&lt;script&gt;x(&#39;&amp;&quot;)");
        check("pay\u{202e}001", "pay\\u{202e}001");
        check("a\u{200b}b", "a\\u{200b}b");
        check("Grüße", "Grüße");
    }
}
