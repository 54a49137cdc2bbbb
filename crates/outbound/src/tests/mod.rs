//! The fetcher against a real TLS server on loopback. Where a test needs a public address, 127.0.0.1
//! stands for one and 127.0.0.2 for a private one.
#![allow(clippy::disallowed_methods, reason = "tests run servers and measure time")]

mod address;
mod documents;
mod names;
mod server;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use https_url::HttpsUrl;
use serde_json::Value;

use crate::resolver::{Lookup, Resolver};
use crate::{FetchError, Fetcher};
use server::{Act, Authority, Server};

/// Long enough never to be met by what does not wait.
const LONG: Duration = Duration::from_mins(1);

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Answers one after another; the last again and again.
struct Answers {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Answers {
    fn new(answers: impl IntoIterator<Item = Vec<IpAddr>>) -> Arc<Self> {
        let answers = Mutex::new(answers.into_iter().collect());
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Lookup for Answers {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Ok(next.unwrap_or_default())
    }
}

/// Asks `answers`; 127.0.0.1 alone is public, and `private_hosts` are named by the operator.
fn resolver(answers: Arc<dyn Lookup>, private_hosts: &[&str]) -> Resolver {
    let private_hosts: BTreeSet<_> = private_hosts.iter().map(|&host| host.to_owned()).collect();
    let is_public = |address| address == PUBLIC;
    Resolver { lookup: answers, private_hosts: Arc::new(private_hosts), is_public }
}

/// A server for `idp.example` and a fetcher that trusts and finds it.
struct World {
    server: Server,
    authority: Authority,
    answers: Arc<Answers>,
    fetcher: Fetcher,
}

impl World {
    async fn new(act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        Self::with(vec![vec![PUBLIC]], LONG, act).await
    }

    async fn with(
        answers: Vec<Vec<IpAddr>>,
        within: Duration,
        act: impl Fn(&str) -> Act + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::new();
        let server = Server::start((PUBLIC, 0), authority.vouch_for("idp.example"), act).await;
        let answers = Answers::new(answers);
        let resolver = resolver(answers.clone(), &[]);
        let fetcher = Fetcher::with(resolver, authority.roots(), within).unwrap();
        Self { server, authority, answers, fetcher }
    }

    fn url(&self, path: &str) -> HttpsUrl {
        url(&format!("https://idp.example:{}{path}", self.server.port))
    }

    async fn fetch(&self, path: &str) -> Result<Value, FetchError> {
        self.fetcher.fetch_json(&self.url(path)).await
    }
}

fn url(text: &str) -> HttpsUrl {
    HttpsUrl::parse(text).expect("it is one")
}

/// The error and what it comes from, in one line.
fn told(error: &FetchError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
