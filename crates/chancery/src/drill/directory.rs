//! The directory of a scratch copy, which says that somebody left as an identity provider does (SCIM 2.0).

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use outbound::HttpClient;
use pap::{Command as Asked, DirectoryRegistration};
use serde_json::{Value, json};

use super::scratch::Scratch;
use crate::directories::new_token;
use crate::socket;

const NAME: &str = "drill";

/// The directory.
pub(super) struct Directory<'a> {
    client: &'a HttpClient,
    users: String,
    token: String,
}

impl<'a> Directory<'a> {
    /// Registers it, with `person` as one of its people.
    pub(super) async fn of(scratch: &'a Scratch, person: &str) -> anyhow::Result<Self> {
        let (config, socket) = (&scratch.config, scratch.config.admin_socket());
        let (told, token) = new_token((NAME, false), 1);
        let add = DirectoryRegistration {
            name: NAME.to_owned(),
            logins: None,
            silence_min: None,
            token: told,
        };
        let adopt = Asked::DirectoryAdopt { name: NAME.to_owned(), person: person.to_owned() };
        for asked in [Asked::DirectoryAdd(add), adopt] {
            socket::call(&socket, &asked).await?;
        }
        let users = format!("{}/scim/v2/Users", config.people_url());
        let directory = Self { client: scratch.agent.client(), users, token };
        let user = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": person, "active": true,
        });
        directory.says(Method::POST, &directory.users, &user).await?;
        Ok(directory)
    }

    /// Says that `person` left.
    pub(super) async fn deactivates(&self, person: &str) -> anyhow::Result<()> {
        let patch = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "replace", "path": "active", "value": false }],
        });
        self.says(Method::PATCH, &format!("{}/{person}", self.users), &patch).await
    }

    async fn says(&self, method: Method, url: &str, what: &Value) -> anyhow::Result<()> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/scim+json")
            .body(Full::new(Bytes::from(what.to_string())))?;
        let answer = self.client.request(request).await.context("the directory got no answer")?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "the directory was answered {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }
}
