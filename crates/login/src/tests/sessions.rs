//! Browser sessions on the manual clock.

use std::sync::Arc;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use model::{Clock as _, Timestamp};
use testkit::{ManualClock, SeededEntropy};

use super::{REDIRECT, just_before, url};
use crate::{
    Cookies, LoggedIn, SESSION_IDLE, SESSION_LIFETIME, SESSIONS_MAX, SESSIONS_OF_ONE_MAX,
    SessionError, SessionId, Sessions, TooManySessions, page_headers,
};

const MS: Duration = Duration::from_millis(1);

fn who(issuer: &str, subject: &str) -> LoggedIn {
    LoggedIn {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        groups: None,
        begun: ManualClock::new().now(),
        auth_time: None,
        acr: None,
        amr: std::iter::empty::<String>().collect(),
        session: None,
        name: None,
    }
}

fn sessions() -> (Arc<ManualClock>, Sessions) {
    let clock = Arc::new(ManualClock::new());
    let sessions =
        Sessions::new(Arc::<ManualClock>::clone(&clock), Arc::new(SeededEntropy::new(3)));
    (clock, sessions)
}

/// The session that a browser with the cookie of `id` shows.
fn shown(cookies: Cookies, id: &SessionId) -> SessionId {
    let set = cookies.set_session(id);
    let (pair, _) = set.to_str().unwrap().split_once(';').unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::from_str(pair).unwrap());
    cookies.session(&headers).unwrap()
}

/// A session is as old as the authentication that it rests on, which may have been long before: what ended
/// the sessions of a person by then ended this one. How long it lasts has nothing to do with that.
#[test]
fn a_session_rests_on_when_its_person_authenticated() {
    let (clock, sessions) = sessions();
    let start = clock.now();
    let check = |auth_time: Option<Timestamp>, since: Timestamp| {
        let id = sessions.begin(LoggedIn { auth_time, ..who("i", "s") }).unwrap();
        assert_eq!(sessions.find(&id).unwrap().since, since);
        id
    };
    clock.advance(2 * SESSION_LIFETIME);
    let now = clock.now();
    check(None, start);
    check(Some(now), now);
    check(Some(now.plus(MS)), now);
    let id = check(Some(start), start);
    clock.advance(just_before(SESSION_IDLE));
    assert!(sessions.find(&id).is_ok());
    clock.advance(SESSION_IDLE);
    assert_eq!(sessions.find(&id), Err(SessionError::Unknown));
}

#[test]
fn a_session_is_its_persons_and_its_browsers() {
    let (_, sessions) = sessions();
    let (carla, other) = (who("https://id", "carla"), who("https://other", "carla"));
    let (one, two) =
        (sessions.begin(carla.clone()).unwrap(), sessions.begin(other.clone()).unwrap());
    for (id, expected) in [(&one, &carla), (&two, &other)] {
        let shown = shown(Cookies::of(&url(REDIRECT)), id);
        assert_eq!(*sessions.find(&shown).unwrap().who, *expected);
    }
    let (_, elsewhere) = self::sessions();
    let foreign = elsewhere.begin(carla).unwrap();
    assert_eq!(foreign.as_bytes(), one.as_bytes(), "the same seed gives the same ids");
    elsewhere.end(&foreign);
    assert_eq!(elsewhere.find(&foreign), Err(SessionError::Unknown));
    assert!(
        !format!("{one:?} {sessions:?}").contains(std::str::from_utf8(one.as_bytes()).unwrap())
    );
}

#[test]
fn a_session_that_is_not_used_ends() {
    let (clock, sessions) = sessions();
    let id = sessions.begin(who("i", "s")).unwrap();
    clock.advance(just_before(SESSION_IDLE));
    assert!(sessions.find(&id).is_ok());
    clock.advance(just_before(SESSION_IDLE));
    assert!(sessions.find(&id).is_ok());
    clock.advance(SESSION_IDLE);
    assert_eq!(sessions.find(&id), Err(SessionError::Unknown));
    // It does not come back.
    assert_eq!(sessions.find(&id), Err(SessionError::Unknown));
    assert_eq!(SESSION_IDLE, Duration::from_mins(15));
}

#[test]
fn a_session_ends_however_much_it_is_used() {
    let (clock, sessions) = sessions();
    let id = sessions.begin(who("i", "s")).unwrap();
    let step = Duration::from_mins(10);
    for _ in 1..48 {
        clock.advance(step);
        assert!(sessions.find(&id).is_ok());
    }
    clock.advance(just_before(step));
    assert!(sessions.find(&id).is_ok());
    clock.advance(MS);
    assert_eq!(sessions.find(&id), Err(SessionError::Unknown));
    assert_eq!(SESSION_LIFETIME, Duration::from_hours(8));
}

#[test]
fn a_step_of_the_wall_clock_neither_ends_nor_prolongs_a_session() {
    let (clock, sessions) = sessions();
    let id = sessions.begin(who("i", "s")).unwrap();
    for step in [86_400_000, -864_000_000] {
        clock.step_wall(step);
        assert!(sessions.find(&id).is_ok());
    }
    clock.advance(SESSION_IDLE);
    clock.step_wall(-864_000_000);
    assert_eq!(sessions.find(&id), Err(SessionError::Unknown));
}

#[test]
fn one_session_ends_and_no_other_of_the_same_person() {
    let (_, sessions) = sessions();
    let begin = || sessions.begin(who("i", "carla")).unwrap();
    let (one, two) = (begin(), begin());
    sessions.end(&one);
    assert!(sessions.find(&one).is_err() && sessions.find(&two).is_ok());
}

#[test]
fn n_113_sessions_are_limited_in_number_and_none_ends_for_another() {
    let (clock, sessions) = sessions();
    let first: Vec<_> =
        (0..SESSIONS_OF_ONE_MAX).map(|_| sessions.begin(who("i", "carla")).unwrap()).collect();
    assert_eq!(sessions.begin(who("i", "carla")).err(), Some(TooManySessions));
    assert!(sessions.begin(who("j", "carla")).is_ok());
    assert!(first.iter().all(|id| sessions.find(id).is_ok()));
    sessions.end(&first[0]);
    assert!(sessions.begin(who("i", "carla")).is_ok());
    clock.advance(SESSION_IDLE);
    assert!(sessions.begin(who("i", "carla")).is_ok());
}

#[test]
fn n_113_a_full_table_of_sessions_refuses() {
    let (clock, sessions) = sessions();
    let one = sessions.begin(who("i", "first")).unwrap();
    for person in 1..SESSIONS_MAX {
        sessions.begin(who("i", &(person / SESSIONS_OF_ONE_MAX).to_string())).unwrap();
    }
    assert_eq!(sessions.begin(who("i", "last")).err(), Some(TooManySessions));
    assert!(sessions.find(&one).is_ok());
    clock.advance(SESSION_IDLE);
    assert!(sessions.begin(who("i", "last")).is_ok());
}

#[test]
fn n_040g_what_changes_something_comes_from_a_page_of_the_session() {
    let (clock, sessions) = sessions();
    let (mine, theirs) =
        (sessions.begin(who("i", "a")).unwrap(), sessions.begin(who("i", "b")).unwrap());
    let token = sessions.csrf_token(&mine);
    let check = |token: &str, expected: Option<SessionError>| {
        assert_eq!(sessions.confirm(&mine, token).err(), expected, "{token}");
    };
    check(&token, None);
    check(&token, None);
    let id = std::str::from_utf8(mine.as_bytes()).unwrap();
    let others = [
        String::new(),
        id.to_owned(),
        sessions.csrf_token(&theirs),
        token[..42].to_owned(),
        format!("{token}="),
        format!("{token}A"),
        token.to_ascii_lowercase(),
        format!(" {token}"),
    ];
    for other in others {
        check(&other, Some(SessionError::Csrf));
    }
    // Another start has another key.
    let clock2 = Arc::<ManualClock>::clone(&clock);
    let restarted = Sessions::new(clock2, Arc::new(SeededEntropy::new(4)));
    assert_ne!(restarted.csrf_token(&mine), token);
    // It is worth nothing without the session, and keeps it alive only if it is right.
    clock.advance(just_before(SESSION_IDLE));
    check("wrong", Some(SessionError::Csrf));
    clock.advance(MS);
    check(&token, Some(SessionError::Unknown));
    assert_eq!(
        [SessionError::Csrf.code(), SessionError::Unknown.code()],
        ["csrf", "not_logged_in"]
    );
}

#[test]
fn n_040g_nobody_frames_or_keeps_a_page() {
    let headers: HeaderMap = page_headers().into_iter().collect();
    let policy = headers["content-security-policy"].to_str().unwrap();
    for directive in
        ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
    {
        assert!(policy.split("; ").any(|found| found == directive), "{directive}");
    }
    assert!(!policy.contains("unsafe"));
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["referrer-policy"], "same-origin");
    assert_eq!(headers["x-frame-options"], "DENY");
    assert_eq!(headers["x-content-type-options"], "nosniff");
}

#[test]
fn a_sessions_cookie_is_for_us_alone() {
    let (_, sessions) = sessions();
    let id = sessions.begin(who("i", "s")).unwrap();
    let check = |redirect_uri: &str, start: &str, end: &str| {
        let cookies = Cookies::of(&url(redirect_uri));
        let set = cookies.set_session(&id);
        let (set, cleared) = (set.to_str().unwrap().to_owned(), cookies.clear_session());
        assert!(set.starts_with(start) && set.ends_with(end), "{set}");
        assert_eq!(shown(cookies, &id).as_bytes(), id.as_bytes());
        assert!(cleared.to_str().unwrap().starts_with(&format!("{start}; Path=/; Max-Age=0; ")));
    };
    let end = "; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax";
    check(REDIRECT, "__Host-chancery-session=", &format!("{end}; Secure"));
    check("http://127.0.0.1:8421/login/callback", "chancery-session=", end);
}
