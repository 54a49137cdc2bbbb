//! Tells people of findings, and reminds them of agents, by a webhook that the operator named.

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use authority::{Messenger, News};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;
use model::{LeaseReminder, PersonId, Reminder, SponsorLeft};
use outbound::{HttpClient, http_client};
use serde_json::{Value, json};

use crate::config::Config;

/// A webhook that takes what people are told.
pub(crate) struct Webhook {
    client: HttpClient,
    url: Uri,
    header: Option<(HeaderName, HeaderValue)>,
    /// The page where people see to agents.
    agents: String,
}

impl Webhook {
    /// The webhook of the configuration, if it has one.
    pub(crate) fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let (findings, agents) = (&config.findings, format!("{}/agents", config.people_url()));
        let Some(url) = &findings.webhook else { return Ok(None) };
        let url = url.parse().context("`findings.webhook` is not a URL")?;
        let header = findings.header_file.as_deref().map(crate::sources::header).transpose()?;
        Ok(Some(Self { client: http_client()?, url, header, agents }))
    }

    async fn post(&self, person: &PersonId, news: &News) -> anyhow::Result<()> {
        let body = body(person, news, &self.agents);
        let mut request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json");
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(serde_json::to_vec(&body)?)))?;
        let status = self.client.request(request).await.context("no connection")?.status();
        ensure!(status.is_success(), "the webhook answered {status}");
        Ok(())
    }
}

/// What is sent: a contract.
fn body(person: &PersonId, news: &News, page: &str) -> Value {
    match news {
        News::UnknownAgent(finding) => {
            json!({ "kind": "unknown_agent", "to": person, "finding": finding })
        }
        News::Reminder(reminder) => {
            let mut told = match reminder {
                Reminder::Ends(ends) => ending(ends),
                Reminder::Stopped(left) => stopped(person, left, page),
            };
            told["to"] = json!(person);
            told["id"] = json!(reminder.id(person));
            told
        }
    }
}

fn ending(LeaseReminder { agent, sponsor, until, days, review }: &LeaseReminder) -> Value {
    let kind = if review.is_some() { "review_due" } else { "lease_ends" };
    let mut told = json!({
        "kind": kind, "agent": agent, "sponsor": sponsor, "until": until.to_string(), "days": days,
    });
    if let Some(review) = review {
        told["review"] = json!(review);
    }
    told
}

/// What `person` may do about it, beside that it is so: policy says whether they may.
fn stopped(person: &PersonId, left: &SponsorLeft, page: &str) -> Value {
    let SponsorLeft { agent, sponsor, since, .. } = left;
    let act = if person == sponsor { "affirm" } else { "take-over" };
    let reason = if person == sponsor { "" } else { " --reason REASON" };
    json!({
        "kind": "sponsor_left", "agent": agent, "sponsor": sponsor, "why": left.why(),
        "since": since.to_string(), "act": act, "page": page,
        "command": format!("chancery agent {act} {agent}{reason} --as {person} --key KEY"),
    })
}

#[async_trait]
impl Messenger for Webhook {
    async fn tell(&self, person: &PersonId, news: &News) -> Result<(), String> {
        self.post(person, news).await.map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use model::{ReviewId, Timestamp};

    use super::*;

    fn told(person: &str, reminder: &Reminder) -> Value {
        let person = person.parse().expect("a person");
        body(&person, &News::Reminder(reminder.clone()), "https://people.example/agents")
    }

    #[test]
    fn a_reminder_names_whom_it_goes_to_and_itself() {
        let mut ends = LeaseReminder {
            agent: "desk".parse().expect("an agent"),
            sponsor: "sam".parse().expect("a person"),
            until: Timestamp::from_seconds(1_800_000_000),
            days: 7,
            review: None,
        };
        let reminder = Reminder::Ends(ends.clone());
        let (sam, bob) = (told("sam", &reminder), told("bob", &reminder));
        assert_ne!(sam["id"], bob["id"]);
        let id = sam["id"].as_str().expect("a digest");
        let expected = json!({
            "kind": "lease_ends", "to": "sam", "id": id, "agent": "desk", "sponsor": "sam",
            "until": "2027-01-15T08:00:00.000Z", "days": 7,
        });
        assert_eq!(sam, expected);
        ends.review = Some(ReviewId::from_bytes([1; 16]));
        let review = json!(ends.review);
        let of_review = told("sam", &Reminder::Ends(ends));
        assert_ne!(of_review["id"], sam["id"]);
        assert_eq!(of_review["kind"], "review_due");
        assert_eq!(of_review["review"], review);
    }

    #[test]
    fn who_is_asked_to_follow_is_told_who_left_and_how_they_take_over() {
        let mut left = SponsorLeft {
            agent: "desk".parse().expect("an agent"),
            sponsor: "sam".parse().expect("a person"),
            since: Timestamp::from_seconds(1_800_000_000),
            has_moved: false,
            answered: Timestamp::from_seconds(1_700_000_000),
        };
        let bob = told("bob", &Reminder::Stopped(left.clone()));
        let expected = json!({
            "kind": "sponsor_left", "to": "bob", "id": bob["id"], "agent": "desk",
            "sponsor": "sam", "why": "left", "since": "2027-01-15T08:00:00.000Z",
            "act": "take-over", "page": "https://people.example/agents",
            "command": "chancery agent take-over desk --reason REASON --as bob --key KEY",
        });
        assert_eq!(bob, expected);
        left.has_moved = true;
        let sam = told("sam", &Reminder::Stopped(left.clone()));
        assert_eq!((&sam["why"], &sam["act"]), (&json!("moved"), &json!("affirm")));
        assert_eq!(sam["command"], "chancery agent affirm desk --as sam --key KEY");
        assert_ne!(told("bob", &Reminder::Stopped(left))["id"], bob["id"]);
    }
}
