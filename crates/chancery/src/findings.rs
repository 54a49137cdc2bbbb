//! Tells people of findings, and of leases that end, by a webhook that the operator named.

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use authority::{Messenger, News};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;
use model::PersonId;
use outbound::{HttpClient, http_client};
use serde_json::{Value, json};

use crate::config::Findings;

/// A webhook that takes what people are told.
pub(crate) struct Webhook {
    client: HttpClient,
    url: Uri,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Webhook {
    /// The webhook of the configuration, if it has one.
    pub(crate) fn of(config: &Findings) -> anyhow::Result<Option<Self>> {
        let Some(url) = &config.webhook else { return Ok(None) };
        let url = url.parse().context("`findings.webhook` is not a URL")?;
        let header = config.header_file.as_deref().map(crate::sources::header).transpose()?;
        Ok(Some(Self { client: http_client()?, url, header }))
    }

    async fn post(&self, person: &PersonId, news: &News) -> anyhow::Result<()> {
        let body = body(person, news);
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
fn body(person: &PersonId, news: &News) -> Value {
    match news {
        News::UnknownAgent(finding) => {
            json!({ "kind": "unknown_agent", "to": person, "finding": finding })
        }
        News::LeaseEnds(reminder) => {
            let kind = if reminder.review.is_some() { "review_due" } else { "lease_ends" };
            let mut told = json!({
                "kind": kind,
                "to": person,
                "id": reminder.id(person),
                "agent": reminder.agent,
                "sponsor": reminder.sponsor,
                "until": reminder.until.to_string(),
                "days": reminder.days,
            });
            if let Some(review) = reminder.review {
                told["review"] = json!(review);
            }
            told
        }
    }
}

#[async_trait]
impl Messenger for Webhook {
    async fn tell(&self, person: &PersonId, news: &News) -> Result<(), String> {
        self.post(person, news).await.map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use model::{LeaseReminder, ReviewId, Timestamp};

    use super::*;

    #[test]
    fn a_reminder_names_whom_it_goes_to_and_itself() {
        let mut reminder = LeaseReminder {
            agent: "desk".parse().expect("an agent"),
            sponsor: "sam".parse().expect("a person"),
            until: Timestamp::from_seconds(1_800_000_000),
            days: 7,
            review: None,
        };
        let told = |person: &str, reminder: &LeaseReminder| {
            let person = person.parse().expect("a person");
            body(&person, &News::LeaseEnds(reminder.clone()))
        };
        let (sam, bob) = (told("sam", &reminder), told("bob", &reminder));
        assert_ne!(sam["id"], bob["id"]);
        let id = sam["id"].as_str().expect("a digest");
        let expected = json!({
            "kind": "lease_ends", "to": "sam", "id": id, "agent": "desk", "sponsor": "sam",
            "until": "2027-01-15T08:00:00.000Z", "days": 7,
        });
        assert_eq!(sam, expected);
        reminder.review = Some(ReviewId::from_bytes([1; 16]));
        let of_review = told("sam", &reminder);
        assert_ne!(of_review["id"], sam["id"]);
        assert_eq!(of_review["kind"], "review_due");
        assert_eq!(of_review["review"], json!(reminder.review));
    }
}
