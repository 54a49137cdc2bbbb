//! Every kind of address, at the edges of its block.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::address::is_public;

fn check(addresses: &[&str], expected: bool) {
    for text in addresses {
        let address: IpAddr = text.parse().expect("an address");
        assert_eq!(is_public(address), expected, "{text}");
    }
}

#[test]
fn n_072_special_ipv4_addresses_are_not_public() {
    check(&["0.0.0.0", "0.255.255.255"], false);
    check(&["10.0.0.0", "10.255.255.255"], false);
    check(&["100.64.0.0", "100.100.100.200", "100.127.255.255"], false);
    check(&["127.0.0.0", "127.0.0.1", "127.255.255.255"], false);
    check(&["168.63.129.16"], false);
    check(&["169.254.0.0", "169.254.169.254", "169.254.255.255"], false);
    check(&["172.16.0.0", "172.31.255.255"], false);
    check(&["192.0.0.0", "192.0.0.9", "192.0.0.192", "192.0.0.255"], false);
    check(&["192.0.2.0", "192.0.2.255", "198.51.100.0", "198.51.100.255"], false);
    check(&["203.0.113.0", "203.0.113.255"], false);
    check(&["192.88.99.0", "192.88.99.255"], false);
    check(&["192.168.0.0", "192.168.255.255"], false);
    check(&["198.18.0.0", "198.19.255.255"], false);
    check(&["224.0.0.0", "239.255.255.255"], false);
    check(&["240.0.0.0", "255.255.255.254", "255.255.255.255"], false);
}

#[test]
fn their_neighbours_are_public() {
    check(&["1.0.0.0", "9.255.255.255", "11.0.0.0"], true);
    check(&["100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"], true);
    check(&["168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0"], true);
    check(&["172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0"], true);
    check(&["192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255"], true);
    check(&["192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255"], true);
    check(&["198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255"], true);
    check(&["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:801::200e"], true);
    check(&["2000::", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2003::"], true);
    check(&["3fff:1000::", "3ffe:ffff::"], true);
}

#[test]
fn n_072_special_ipv6_addresses_are_not_public() {
    check(&["::", "::1", "::2", "::127.0.0.1", "::8.8.8.8"], false);
    check(
        &["::ffff:0:127.0.0.1", "64:ff9b:1::a00:1", "64:ff9a:ffff::", "64:ff9b:0:0:0:1::"],
        false,
    );
    check(&["100::", "100:0:0:1::1", "1fff:ffff::", "4000::", "5f00::1"], false);
    check(&["2001::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:1ff::1"], false);
    check(&["2001:10::", "2001:20::", "2001:db8::", "2001:db8:ffff::1"], false);
    check(&["2002::", "2002:7f00:1::1", "2002:808:808::1", "2002:ffff::"], false);
    check(&["3fff::", "3fff:fff:ffff::"], false);
    check(&["fc00::", "fd00::1", "fd00:ec2::254", "fdff:ffff::"], false);
    check(&["fe80::", "fe80::1", "febf:ffff::", "fec0::1", "feff::"], false);
    check(&["ff00::", "ff02::1", "ff0e::1", "ffff::"], false);
}

#[test]
fn n_072_an_address_that_stands_for_another_is_as_public_as_that() {
    check(&["::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"], false);
    check(&["64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::10.0.0.1"], false);
    check(&["::ffff:8.8.8.8", "64:ff9b::8.8.8.8"], true);
}

proptest! {
    #[test]
    fn n_072_no_form_of_an_ipv4_address_is_more_public_than_it(bits: u32, near in 0_usize..17) {
        let special = [
            0x0000_0000, 0x0a00_0000, 0x6440_0000, 0x7f00_0000, 0xa83f_8110, 0xa9fe_0000,
            0xac10_0000, 0xc000_0000, 0xc000_0200, 0xc058_6300, 0xc0a8_0000, 0xc612_0000,
            0xc633_6400, 0xcb00_7100, 0xe000_0000, 0xf000_0000, 0xffff_ffff,
        ];
        for bits in [bits, special[near] ^ (bits >> 12), special[near] ^ (bits >> 24)] {
            let v4 = Ipv4Addr::from_bits(bits);
            let low = u128::from(bits);
            let is_v6_public = |bits: u128| is_public(Ipv6Addr::from_bits(bits).into());
            let expected = is_public(v4.into());
            prop_assert_eq!(is_public(v4.to_ipv6_mapped().into()), expected);
            prop_assert_eq!(is_v6_public((0x0064_ff9b << 96) | low), expected);
            // Compatible, translated, 6to4, Teredo (of which the client's address is inverted).
            prop_assert!(!is_v6_public(low));
            prop_assert!(!is_v6_public((0xffff << 48) | low));
            prop_assert!(!is_v6_public((0x2002 << 112) | (low << 80) | 1));
            prop_assert!(!is_v6_public((0x2001_0000 << 96) | u128::from(!bits)));
        }
    }
}
