//! Networks, as far as an address tells one sender from another.

use std::net::{IpAddr, Ipv6Addr};

/// The bits of an IPv6 address that say whose it is: one subscriber often has all the others.
const NETWORK: u128 = u128::MAX << 72;

/// Who sends from `address`: an IPv4 address, or the network (/56) of an IPv6 one, all of whose addresses
/// one subscriber can have. On loopback nobody in particular: a proxy there sends for all.
pub fn network(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    (!address.is_loopback()).then(|| match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
    })
}
