//! Who connects, as far as an address tells one from another.

use std::net::IpAddr;

use crate::Peer;

impl Peer {
    /// Who connects ([`model::network`]).
    pub fn network(self) -> Option<IpAddr> {
        model::network(self.0)
    }
}

/// Who sent a request that came from `peer`, if that tells one from another: `behind_proxy` all come
/// from it.
pub(crate) fn sender(peer: Option<Peer>, behind_proxy: bool) -> Option<IpAddr> {
    peer.filter(|_| !behind_proxy).and_then(Peer::network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Option<&str>) {
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(Peer(parse(address)).network(), expected.map(parse), "{address}");
    }

    #[test]
    fn who_is_on_loopback_is_nobody_in_particular() {
        check("127.0.0.1", None);
        check("127.0.0.2", None);
        check("::1", None);
        check("::ffff:127.0.0.1", None);
    }

    #[test]
    fn one_who_connects_is_an_address_or_a_network() {
        check("192.0.2.1", Some("192.0.2.1"));
        check("::ffff:192.0.2.1", Some("192.0.2.1"));
        check("2001:db8::ffff:0:0:1", Some("2001:db8::"));
        check("2001:db8:0:ff:1::", Some("2001:db8::"));
        check("2001:db8:0:100::1", Some("2001:db8:0:100::"));
    }
}
