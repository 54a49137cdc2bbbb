//! Places for connections: so many in all, and so many of one who connects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Places, by whose they are.
#[derive(Debug)]
pub(crate) struct Places<K> {
    most: usize,
    of_one_max: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    of: BTreeMap<K, usize>,
}

/// A place. It is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Ord> {
    places: Arc<Places<K>>,
    whose: Option<K>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All places are taken.
    All,
    /// This one has as many as it may.
    OfOne,
}

impl<K: Ord + Clone> Places<K> {
    /// Places for `most`, and for `of_one_max` of one.
    pub(crate) fn new(most: usize, of_one_max: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken { all: 0, of: BTreeMap::new() });
        Arc::new(Self { most, of_one_max, taken })
    }

    /// A place for `whose`; for nobody in particular, one of all.
    pub(crate) fn take(self: &Arc<Self>, whose: Option<K>) -> Result<Place<K>, Full> {
        let mut taken = self.taken.lock().expect("no panic while it is held");
        if taken.all >= self.most {
            return Err(Full::All);
        }
        if let Some(whose) = &whose {
            let own = taken.of.get(whose).copied().unwrap_or(0);
            if own >= self.of_one_max {
                return Err(Full::OfOne);
            }
            taken.of.insert(whose.clone(), own + 1);
        }
        taken.all += 1;
        Ok(Place { places: self.clone(), whose })
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().expect("no panic while it is held");
        taken.all -= 1;
        let Some(whose) = &self.whose else { return };
        match taken.of.get_mut(whose) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.of.remove(whose)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use api::Peer;

    use super::*;

    #[test]
    fn n_111_one_address_does_not_take_all_places() {
        let places = Places::new(5, 2);
        let from =
            |address: &str| places.take(Peer(address.parse().expect("an address")).network());
        let check = |address: &str, full: Full| assert_eq!(from(address).err(), Some(full));
        let one = [from("192.0.2.1"), from("::ffff:192.0.2.1")];
        assert!(one.iter().all(Result::is_ok));
        check("192.0.2.1", Full::OfOne);
        check("::ffff:192.0.2.1", Full::OfOne);
        let another = [from("2001:db8::1"), from("2001:db8::ffff:0:0:1")];
        assert!(another.iter().all(Result::is_ok));
        check("2001:db8::2", Full::OfOne);
        let last = from("2001:db8:0:100::1");
        assert!(last.is_ok(), "another network");
        check("192.0.2.2", Full::All);
        drop(one);
        let one = [from("192.0.2.1"), from("192.0.2.1")];
        assert!(one.iter().all(Result::is_ok), "they were given back");
        drop((one, another, last));
        let taken = places.taken.lock().unwrap();
        assert_eq!((taken.all, taken.of.len()), (0, 0));
    }

    #[test]
    fn nobody_in_particular_takes_one_of_all() {
        let places = Places::<IpAddr>::new(3, 1);
        let taken: Vec<_> = (0..3).map(|_| places.take(None)).collect();
        assert!(taken.iter().all(Result::is_ok));
        assert_eq!(places.take(None).err(), Some(Full::All));
    }
}
