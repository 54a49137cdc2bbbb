//! Keys in files: PEM, modes, and the ring.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use keys::{
    KeyAlgorithm, KeyError, KeyRing, KeyRingError, Signer as _, SigningKey, keep_token_key,
    make_token_key, read_private, read_token_key, remove_token_key, write_private,
};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// The key of RFC 8410 §10.3.
const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";

/// The public half of that key, from §10.1.
const RFC_8410_PUBLIC: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_survives_its_pem() {
    for algorithm in [KeyAlgorithm::Es256, KeyAlgorithm::EdDsa] {
        let key = SigningKey::generate(algorithm).unwrap();
        let pem = key.to_pem().unwrap();
        assert!(pem.starts_with(&format!("{BEGIN}\n")) && pem.ends_with(&format!("\n{END}\n")));
        assert!(pem.lines().all(|line| line.len() <= 64), "{}", pem.lines().count());
        for text in [pem.clone(), pem.replace('\n', "\r\n"), format!("\n\n{pem}\n")] {
            let read = SigningKey::from_pem(&text).unwrap();
            assert_eq!(read.verifying(), key.verifying());
            assert!(key.verifying().verify(b"m", &read.sign(b"m").unwrap()));
        }
    }
}

#[test]
fn the_key_of_rfc_8410_is_read() {
    let key = SigningKey::from_pem(RFC_8410).unwrap();
    assert_eq!(key.verifying().to_jwk()["x"], RFC_8410_PUBLIC);
}

#[test]
fn what_is_no_private_key_in_pem_is_refused() {
    let pem = SigningKey::generate(KeyAlgorithm::Es256).unwrap().to_pem().unwrap();
    let check = |text: &str, expected: KeyError| {
        assert_eq!(SigningKey::from_pem(text).map(|_| ()), Err(expected), "{text}");
    };
    check("", KeyError::NotPem);
    check(BEGIN, KeyError::NotPem);
    check(&pem.replace("PRIVATE", "PUBLIC"), KeyError::NotPem);
    check(&pem.replace("PRIVATE", "EC PRIVATE"), KeyError::NotPem);
    check(&pem.replace("PRIVATE", "ENCRYPTED PRIVATE"), KeyError::NotPem);
    check(&format!("{pem}{pem}"), KeyError::NotPem);
    check(&format!("{pem}# a comment\n"), KeyError::NotPem);
    check(&pem[..pem.len() - 2], KeyError::NotPem);
    check(&pem.replace("MI", "M!"), KeyError::NotPem);
    check(&format!("{BEGIN}\n{END}\n"), KeyError::Unsupported);
    check(&format!("{BEGIN}\nAAAA\n{END}\n"), KeyError::Unsupported);
    check(&p_384(), KeyError::Unsupported);
}

/// A well-formed key of a curve that is none of ours.
fn p_384() -> String {
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
    use base64::Engine as _;
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let der = pair.to_pkcs8v1().unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    format!("{BEGIN}\n{text}\n{END}\n")
}

#[test]
fn private_files_are_private_from_the_start_and_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.pem");
    write_private(&path, b"secret").unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(read_private(&path).unwrap(), b"secret");
    assert!(matches!(write_private(&path, b"other"), Err(KeyRingError::Unwritable { .. })));
    assert_eq!(read_private(&path).unwrap(), b"secret");
}

#[test]
fn a_directory_is_no_key_whoever_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let error = read_private(dir.path()).unwrap_err();
    assert!(matches!(error, KeyRingError::Unreadable { .. }), "{error}");
}

#[test]
fn an_exposed_file_is_refused_and_the_remedy_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.pem");
    write_private(&path, b"secret").unwrap();
    for exposed in [0o604, 0o640, 0o644, 0o601, 0o610, 0o620, 0o602, 0o666, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(exposed)).unwrap();
        let error = read_private(&path).unwrap_err();
        assert!(matches!(error, KeyRingError::Exposed { mode, .. } if mode == exposed), "{error}");
        let remedy = format!("chmod 600 {}", path.display());
        assert!(error.to_string().contains(&remedy), "{error}");
    }
    for private in [0o600, 0o400, 0o700] {
        fs::set_permissions(&path, Permissions::from_mode(private)).unwrap();
        assert_eq!(read_private(&path).unwrap(), b"secret");
    }
}

#[test]
fn a_link_is_judged_by_the_file_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("agent.pem"), dir.path().join("link"));
    write_private(&path, b"secret").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(read_private(&link).unwrap(), b"secret");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(read_private(&link), Err(KeyRingError::Exposed { .. })));
}

#[test]
fn a_key_file_has_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (at, beyond) = (dir.path().join("at"), dir.path().join("beyond"));
    write_private(&at, &vec![b'x'; 16 * 1024]).unwrap();
    write_private(&beyond, &vec![b'x'; 16 * 1024 + 1]).unwrap();
    assert_eq!(read_private(&at).unwrap().len(), 16 * 1024);
    assert!(matches!(read_private(&beyond), Err(KeyRingError::Unfit { .. })));
    let missing = read_private(&dir.path().join("missing"));
    assert!(matches!(missing, Err(KeyRingError::Unreadable { .. })));
}

#[test]
fn a_ring_is_made_once_and_opens_as_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let made = KeyRing::create(&path, [7; 32]).unwrap();
    assert_eq!(mode(&path), 0o700);
    for name in ["token.pem", "log.pem", "policy.pem", "sealing.key"] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
    assert!(matches!(KeyRing::create(&path, [8; 32]), Err(KeyRingError::Unwritable { .. })));
    let opened = KeyRing::open(&path).unwrap();
    let algorithms = [&opened.log, &opened.policy].map(|k| k.verifying().algorithm());
    assert_eq!(algorithms, [KeyAlgorithm::EdDsa, KeyAlgorithm::EdDsa]);
    assert_eq!(made.log.verifying(), opened.log.verifying());
    assert_ne!(opened.log.verifying(), opened.policy.verifying());
    let sealed = made.sealing().seal(b"value", b"name", [1; 12]);
    assert_eq!(opened.sealing().open(&sealed, b"name").unwrap(), b"value");
    // The key of states is the same after a start, and another than that of data keys.
    assert!(opened.state_sealing().open(&sealed, b"name").is_err());
    let sealed = made.state_sealing().seal(b"state", b"name", [2; 12]);
    assert_eq!(opened.state_sealing().open(&sealed, b"name").unwrap(), b"state");
    assert!(opened.sealing().open(&sealed, b"name").is_err());
}

/// The key that signs tokens is one of several files.
#[test]
fn another_key_that_signs_tokens_is_kept_beside_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    KeyRing::create(&path, [7; 32]).unwrap();
    let first = read_token_key(&path, None).unwrap();
    assert_eq!(first.verifying().algorithm(), KeyAlgorithm::Es256);
    let made = make_token_key(&path).unwrap();
    assert_ne!(made.verifying(), first.verifying());
    let kid = made.verifying().thumbprint_text();
    assert_eq!(mode(&path.join(format!("token-{kid}.pem"))), 0o600);
    assert_eq!(read_token_key(&path, Some(&kid)).unwrap().verifying(), made.verifying());
    let unused = make_token_key(&path).unwrap().verifying().thumbprint_text();
    remove_token_key(&path, &unused).unwrap();
    let gone = read_token_key(&path, Some(&unused)).unwrap_err();
    assert!(gone.to_string().contains(&unused), "{gone}");
    // All but one are removed, and no other key with them.
    make_token_key(&path).unwrap();
    keep_token_key(&path, Some(&kid)).unwrap();
    let left = fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["log.pem", "policy.pem", "sealing.key", &format!("token-{kid}.pem")]);
    assert_eq!(read_token_key(&path, Some(&kid)).unwrap().verifying(), made.verifying());
}

/// Breaks the file at a path.
type Breakage = fn(&Path);

#[test]
fn a_ring_with_a_wrong_file_does_not_open() {
    let breakages: [(&str, Breakage); 5] = [
        ("token.pem", |path| fs::remove_file(path).unwrap()),
        ("token.pem", |path| {
            fs::copy(path.with_file_name("log.pem"), path).map(|_| ()).unwrap();
        }),
        ("log.pem", |path| {
            fs::copy(path.with_file_name("token.pem"), path).map(|_| ()).unwrap();
        }),
        ("sealing.key", |path| fs::write(path, [0; 31]).unwrap()),
        ("policy.pem", |path| {
            fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
        }),
    ];
    for (name, breakage) in breakages {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        KeyRing::create(&path, [7; 32]).unwrap();
        breakage(&path.join(name));
        let opened = KeyRing::open(&path).and_then(|_| read_token_key(&path, None));
        let error = opened.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
