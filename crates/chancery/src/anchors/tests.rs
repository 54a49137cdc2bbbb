//! The schedule by the manual clock; one real file and one real listener.

use std::sync::Arc;
use std::time::Duration;

use testkit::ManualClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{ALARM_AFTER, AnchorAlarms, Schedule, start};
use crate::config::Anchor;
use model::Clock as _;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_new_checkpoint_goes_at_once_and_the_old_one_again_each_minute() {
    let mut schedule = Schedule::begin(s(100));
    assert_eq!(schedule.wait(s(100), true), Duration::ZERO);
    schedule.attempted(s(101), true);
    assert_eq!(schedule.wait(s(101), true), Duration::ZERO);
    assert_eq!(schedule.wait(s(101), false), s(60));
    assert_eq!(schedule.wait(s(150), false), s(11));
    assert_eq!(schedule.wait(s(161), false), Duration::ZERO);
    assert_eq!(schedule.wait(s(999), false), Duration::ZERO);
}

#[test]
fn failures_are_tried_again_ever_more_slowly_and_success_forgives() {
    let clock = ManualClock::new();
    let mut schedule = Schedule::begin(clock.monotonic());
    for pause in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        schedule.attempted(clock.monotonic(), false);
        for has_new in [true, false] {
            assert_eq!(schedule.wait(clock.monotonic(), has_new), s(pause));
        }
        clock.advance(s(pause));
        assert_eq!(schedule.wait(clock.monotonic(), true), Duration::ZERO);
    }
    schedule.attempted(clock.monotonic(), true);
    assert_eq!(schedule.wait(clock.monotonic(), true), Duration::ZERO);
}

#[test]
fn five_minutes_of_failures_are_an_alarm() {
    let clock = ManualClock::new();
    let mut schedule = Schedule::begin(clock.monotonic());
    clock.advance(s(1_000));
    assert!(!schedule.is_alarm(clock.monotonic()), "nothing was tried yet");
    schedule.attempted(clock.monotonic(), true);
    schedule.attempted(clock.monotonic(), false);
    clock.advance(ALARM_AFTER.saturating_sub(s(1)));
    assert!(!schedule.is_alarm(clock.monotonic()));
    clock.advance(s(1));
    assert!(schedule.is_alarm(clock.monotonic()));
    schedule.attempted(clock.monotonic(), true);
    assert!(!schedule.is_alarm(clock.monotonic()));
}

#[test]
fn an_alarm_names_the_anchor_and_not_its_address() {
    let anchors = [
        Anchor::Url { url: "https://a.example/secret".to_owned() },
        Anchor::File { file: "/b".into() },
    ];
    let alarms = AnchorAlarms::of(&anchors);
    assert_eq!(alarms.troubles().count(), 0);
    alarms.0[1].store(true, super::Ordering::Relaxed);
    let troubles: Vec<_> = alarms.troubles().collect();
    assert_eq!(troubles, ["`log.anchors[1]` has not taken a checkpoint for 5 minutes"]);
    let metrics = alarms.metrics();
    assert!(metrics.contains("chancery_anchor_down{anchor=\"0\"} 0\n"), "{metrics}");
    assert!(metrics.contains("chancery_anchor_down{anchor=\"1\"} 1\n"), "{metrics}");
    assert!(!metrics.contains("secret"), "{metrics}");
}

fn note(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

async fn until(mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + s(20);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "it never came to be");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_appended_to_and_never_made_or_shortened() {
    let directory = tempfile::tempdir().unwrap();
    let (there, gone) = (directory.path().join("there"), directory.path().join("gone"));
    std::fs::write(&there, "begun by its owner").unwrap();
    let anchors = [Anchor::File { file: there.clone() }, Anchor::File { file: gone.clone() }];
    let alarms = AnchorAlarms::of(&anchors);
    let (sender, newest) = watch::channel(Some(note("one\n")));
    let clock: Arc<dyn model::Clock> = Arc::new(ManualClock::new());
    let stop = CancellationToken::new();
    let tasks = start(&anchors, &alarms, (&newest, &clock), &stop).unwrap();
    let read = || std::fs::read_to_string(&there).unwrap();
    until(|| read() == "begun by its owner\nanchor/v1 4\none\n").await;
    sender.send_replace(Some(note("two\n")));
    until(|| read().ends_with("\nanchor/v1 4\none\n\nanchor/v1 4\ntwo\n")).await;
    // The last checkpoint before the end goes out too.
    sender.send_replace(Some(note("three\n")));
    stop.cancel();
    tasks.wait().await;
    assert!(read().ends_with("two\n\nanchor/v1 6\nthree\n"), "{}", read());
    assert!(!gone.exists());
}

/// Answers each POST with the next of `answers`, and tells what came.
async fn listener(answers: Vec<&'static str>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/anchor", listener.local_addr().unwrap());
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            while !request.ends_with(b" note\n") {
                let count = stream.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the request ended early");
                request.extend_from_slice(&buffer[..count]);
            }
            let head = "content-length: 0\r\nconnection: close\r\n\r\n";
            let answer = format!("HTTP/1.1 {answer}\r\n{head}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            tell.send(String::from_utf8(request).unwrap()).unwrap();
        }
    });
    (url, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_gets_each_checkpoint_by_post() {
    let (url, mut told) = listener(vec!["200 OK", "204 No Content"]).await;
    let anchors = [Anchor::Url { url }];
    let alarms = AnchorAlarms::of(&anchors);
    let (sender, newest) = watch::channel(None);
    let clock: Arc<dyn model::Clock> = Arc::new(ManualClock::new());
    let stop = CancellationToken::new();
    let tasks = start(&anchors, &alarms, (&newest, &clock), &stop).unwrap();
    for text in ["first note\n", "second note\n"] {
        sender.send_replace(Some(note(text)));
        let request = told.recv().await.unwrap();
        assert!(request.starts_with("POST /anchor HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("content-type: text/plain; charset=utf-8\r\n"), "{request}");
        assert!(request.ends_with(text), "{request}");
    }
    stop.cancel();
    tasks.wait().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_success_is_a_failure_and_a_redirect_is_not_followed() {
    let moved = "302 Found\r\nlocation: /elsewhere";
    let (url, mut told) = listener(vec![moved, "500 No", "200 OK"]).await;
    let place = super::Place::of(&Anchor::Url { url }).unwrap();
    for status in ["302", "500"] {
        let failed = place.keep(&note("a note\n")).await.unwrap_err();
        assert!(format!("{failed:#}").contains(status), "{failed:#}");
        assert!(told.recv().await.unwrap().starts_with("POST /anchor "));
    }
    place.keep(&note("a note\n")).await.unwrap();
}
