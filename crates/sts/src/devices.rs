//! Devices that ask to be enrolled, kept in memory until a person has answered (as in RFC 8628).
//!
//! Whoever can reach the service may ask, so what is kept has limits, and nothing is written for it.
//! Beyond them the oldest makes room, of whoever has the most: a flood forgets itself first.
//! INVARIANT: only who types the code that a device shows learns what that device asks, and so many
//! codes may be tried that nobody finds one (`n_040g_…`).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use model::{Clock, DeviceAsked, Entropy, PersonId, Thumbprint};
use oauth::device::INTERVAL_S;
use oauth::proofs::Proofs;

/// For how long a code can be typed.
const LIFETIME: Duration = Duration::from_mins(10);

/// The most devices that wait for an answer.
const ASKED_MAX: usize = 4_096;

/// The most of them from one address.
const OF_ONE_MAX: usize = 256;

/// The most proofs that are remembered from one window; beyond that no device asks.
const PROOFS_MAX: usize = 1_000_000;

/// The most codes that one person types in ten minutes and that nobody shows: even while as many
/// devices wait as may, who goes on trying finds one in twelve years (RFC 8628 §5.1).
const TRIES_MAX: usize = 10;

/// What codes are made of: no vowels, so that none is a word, and nothing that is read as something
/// else (RFC 8628 §6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// How many letters a code has.
const CODE_LENGTH: usize = 8;

/// What devices ask, and what became of it.
#[derive(Debug)]
pub(crate) struct Devices {
    all: Mutex<All>,
    /// The proofs by which they ask. Strangers do: what they use up takes no room in the store.
    pub(crate) proofs: Proofs,
}

#[derive(Debug, Default)]
struct All {
    asked: BTreeMap<Thumbprint, Pending>,
    /// When each person typed a code of late that nobody shows.
    tried: BTreeMap<PersonId, Vec<Duration>>,
}

#[derive(Debug)]
struct Pending {
    what: DeviceAsked,
    code: String,
    expires: Duration,
    /// Before then it asks again too soon.
    again: Duration,
    is_refused: bool,
}

/// A device that waits for an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) code: String,
    pub(crate) expires_in: Duration,
}

/// Why a device does not wait for an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotWaiting {
    /// A person refused.
    Refused,
    /// It asked already, for something else.
    Other,
    /// It asked just now.
    TooSoon,
}

/// Why nobody is told what a device asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDevice {
    /// No device shows such a code, or not any more.
    #[error("no device shows this code, or not any more")]
    Unknown,
    /// The person typed too many that nobody shows.
    #[error("too many codes were wrong: try again in ten minutes")]
    TooMany,
}

impl Devices {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { all: Mutex::default(), proofs: Proofs::new(PROOFS_MAX) }
    }

    /// Keeps what a device asks, which it may ask again to learn what became of it.
    pub(crate) fn ask(
        &self,
        what: DeviceAsked,
        (clock, entropy): (&dyn Clock, &dyn Entropy),
    ) -> Result<Waiting, NotWaiting> {
        let now = clock.monotonic();
        let again = now.saturating_add(Duration::from_secs(INTERVAL_S.cast_unsigned()));
        let mut all = self.all.lock().expect("no panic while it is held");
        all.asked.retain(|_, pending| pending.expires > now);
        if let Some(pending) = all.asked.get_mut(&what.id) {
            let is_same = (&pending.what.agent, &pending.what.name) == (&what.agent, &what.name);
            return match pending {
                _ if !is_same => Err(NotWaiting::Other),
                Pending { is_refused: true, .. } => Err(NotWaiting::Refused),
                pending if now < pending.again => Err(NotWaiting::TooSoon),
                pending => {
                    pending.again = again;
                    let (code, expires_in) =
                        (pending.code.clone(), pending.expires.saturating_sub(now));
                    Ok(Waiting { code, expires_in })
                }
            };
        }
        all.make_room(what.from);
        let mut code = code(entropy);
        while all.asked.values().any(|pending| pending.code == code) {
            code = self::code(entropy);
        }
        let (shown, expires) = (code.clone(), now.saturating_add(LIFETIME));
        all.asked.insert(what.id, Pending { what, code, expires, again, is_refused: false });
        Ok(Waiting { code: shown, expires_in: LIFETIME })
    }

    /// What the device asks that shows the code that `person` typed.
    pub(crate) fn find(
        &self,
        person: &PersonId,
        typed: &str,
        clock: &dyn Clock,
    ) -> Result<DeviceAsked, NoDevice> {
        let now = clock.monotonic();
        let mut all = self.all.lock().expect("no panic while it is held");
        all.tried.retain(|_, tries| {
            tries.retain(|tried| tried.saturating_add(LIFETIME) > now);
            !tries.is_empty()
        });
        if all.tried.get(person).is_some_and(|tries| tries.len() >= TRIES_MAX) {
            return Err(NoDevice::TooMany);
        }
        let typed = plain(typed);
        let is_it = |pending: &&Pending| {
            pending.code == typed && !pending.is_refused && pending.expires > now
        };
        if let Some(pending) = all.asked.values().find(is_it) {
            return Ok(pending.what.clone());
        }
        all.tried.entry(person.clone()).or_default().push(now);
        Err(NoDevice::Unknown)
    }

    /// Forgets the device `id`, which was enrolled.
    pub(crate) fn enrolled(&self, id: &Thumbprint) {
        self.all.lock().expect("no panic while it is held").asked.remove(id);
    }

    /// Takes note that a person refused the device `id`.
    pub(crate) fn refused(&self, id: &Thumbprint) {
        let mut all = self.all.lock().expect("no panic while it is held");
        all.asked.get_mut(id).into_iter().for_each(|pending| pending.is_refused = true);
    }
}

impl All {
    /// Makes room for one more that asks from `from`: if as many wait from there as may, the oldest of
    /// them goes, and if as many wait at all, the oldest of whoever has the most then.
    fn make_room(&mut self, from: Option<IpAddr>) {
        let mut waiting = BTreeMap::from([(from, 1)]);
        self.asked.values().for_each(|it| *waiting.entry(it.what.from).or_default() += 1);
        let has_most = from.is_some() && waiting[&from] > OF_ONE_MAX;
        let is_full = self.asked.len() >= ASKED_MAX;
        let may_go = |pending: &Pending| if has_most { pending.what.from == from } else { is_full };
        let order = |pending: &Pending| (Reverse(waiting[&pending.what.from]), pending.expires);
        let going = self.asked.iter().filter(|(_, it)| may_go(it)).min_by_key(|(_, it)| order(it));
        going.map(|(id, _)| *id).and_then(|id| self.asked.remove(&id));
    }
}

/// A new code, as it is shown.
fn code(entropy: &dyn Entropy) -> String {
    let mut letters = String::with_capacity(CODE_LENGTH + 1);
    while letters.len() <= CODE_LENGTH {
        let mut byte = [0; 1];
        entropy.fill(&mut byte);
        // Beyond the last multiple of their number, some letters would come more often than others.
        if byte[0] >= 240 {
            continue;
        }
        if letters.len() == CODE_LENGTH / 2 {
            letters.push('-');
        }
        letters.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
    }
    letters
}

/// What somebody typed, as codes are shown: case, spaces and other marks mean nothing.
fn plain(typed: &str) -> String {
    let letters: String = typed.chars().filter(char::is_ascii_alphabetic).take(32).collect();
    let letters = letters.to_ascii_uppercase();
    match letters.split_at_checked(CODE_LENGTH / 2) {
        Some((first, second)) => format!("{first}-{second}"),
        None => letters,
    }
}

#[cfg(test)]
mod tests {
    use testkit::{ManualClock, SeededEntropy};

    use super::*;

    struct Waits {
        all: Devices,
        clock: ManualClock,
        entropy: SeededEntropy,
    }

    impl Waits {
        fn new() -> Self {
            let (all, clock) = (Devices::new(), ManualClock::new());
            Self { all, clock, entropy: SeededEntropy::new(1) }
        }

        fn ask(&self, number: u16, from: Option<&str>) -> Result<Waiting, NotWaiting> {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&number.to_be_bytes());
            let what = DeviceAsked {
                agent: "bot".parse().unwrap(),
                id: Thumbprint::from_bytes(id),
                key: serde_json::Value::Null,
                name: "laptop".to_owned(),
                from: from.map(|from| from.parse().unwrap()),
                asked: self.clock.now(),
            };
            self.all.ask(what, (&self.clock, &self.entropy))
        }

        fn find(&self, person: &str, typed: &str) -> Result<DeviceAsked, NoDevice> {
            self.all.find(&person.parse().unwrap(), typed, &self.clock)
        }
    }

    #[test]
    fn a_code_is_typed_in_any_way_and_until_it_expires() {
        let waits = Waits::new();
        let code = waits.ask(1, None).unwrap().code;
        let shape: Vec<_> = code.split('-').map(str::len).collect();
        assert_eq!(shape, [4, 4], "{code}");
        let spaced = code.to_lowercase().replace('-', " ");
        for typed in [code.as_str(), &spaced, &code.replace('-', "")] {
            assert_eq!(waits.find("ann", typed).unwrap().name, "laptop", "{typed}");
        }
        waits.clock.advance(LIFETIME);
        assert_eq!(waits.find("ann", &code), Err(NoDevice::Unknown));
    }

    #[test]
    fn a_device_asks_again_for_the_same_and_not_too_soon() {
        let waits = Waits::new();
        let first = waits.ask(1, None).unwrap();
        assert_eq!(waits.ask(1, None), Err(NotWaiting::TooSoon));
        waits.clock.advance(Duration::from_secs(2));
        assert_eq!(waits.ask(1, None).unwrap().code, first.code);
        waits.all.refused(&waits.find("ann", &first.code).unwrap().id);
        assert_eq!(waits.ask(1, None), Err(NotWaiting::Refused));
        assert_eq!(waits.find("ann", &first.code), Err(NoDevice::Unknown));
    }

    #[test]
    fn n_040g_so_many_codes_are_tried_and_no_more() {
        let waits = Waits::new();
        let code = waits.ask(1, None).unwrap().code;
        for _ in 0..TRIES_MAX {
            assert_eq!(waits.find("eve", "BBBB-BBBB"), Err(NoDevice::Unknown));
        }
        assert_eq!(waits.find("eve", &code), Err(NoDevice::TooMany), "even the right one");
        assert!(waits.find("ann", &code).is_ok(), "another is not concerned");
        waits.clock.advance(LIFETIME);
        assert_eq!(waits.find("eve", &code), Err(NoDevice::Unknown), "she may try again");
    }

    #[test]
    fn n_113_so_many_devices_wait_of_one_address_and_it_forgets_its_own() {
        let waits = Waits::new();
        let (one, mut codes) = (Some("192.0.2.1"), Vec::new());
        let honest = waits.ask(5_000, Some("192.0.2.2")).unwrap().code;
        for number in 0..=OF_ONE_MAX {
            waits.clock.advance(Duration::from_millis(1));
            codes.push(waits.ask(u16::try_from(number).unwrap(), one).unwrap().code);
            let first = waits.find("ann", &codes[0]);
            assert_eq!(first.is_ok(), number < OF_ONE_MAX, "{number}");
        }
        assert!(codes[1..].iter().all(|code| waits.find("bob", code).is_ok()));
        assert!(waits.find("bob", &honest).is_ok());
    }

    #[test]
    fn n_113_so_many_devices_wait_and_a_flood_locks_nobody_out() {
        let waits = Waits::new();
        let ask = |number: usize, from: Option<&str>| {
            waits.clock.advance(Duration::from_millis(1));
            waits.ask(u16::try_from(number).unwrap(), from).unwrap().code
        };
        let is_there = |code: &str| waits.all.find(&"ann".parse().unwrap(), code, &waits.clock);
        let honest = ask(60_000, Some("192.0.2.2"));
        let first = ask(0, None);
        for number in 2..ASKED_MAX {
            ask(number, None);
        }
        assert!(is_there(&first).is_ok(), "as many wait as may");
        // Whoever has the most makes room, for others and for itself.
        let late = ask(60_001, Some("192.0.2.3"));
        assert_eq!(is_there(&first), Err(NoDevice::Unknown));
        for number in ASKED_MAX..2 * ASKED_MAX {
            ask(number, None);
        }
        assert!(is_there(&honest).is_ok() && is_there(&late).is_ok());
    }
}
