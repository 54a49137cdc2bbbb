//! Secrets are never printed: not by `Debug`, not in an error.

use keys::{KeyAlgorithm, KeyRing, SealingKey, Secret, SigningKey};

/// Every way in which bytes could show up in a text.
fn spellings(secret: &[u8]) -> [String; 4] {
    use base64::Engine as _;
    [
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret),
        keys::base64url(secret),
        format!("{secret:02x?}").replace([',', ' ', '[', ']'], ""),
        format!("{secret:?}").trim_matches(['[', ']']).to_owned(),
    ]
}

#[track_caller]
fn check(shown: &str, secret: &[u8]) {
    for spelling in spellings(secret) {
        assert!(!shown.contains(&spelling), "`{shown}` shows the secret");
    }
}

#[test]
fn i_12_a_secret_is_not_printed() {
    let secret = Secret::new("hunter2".to_owned());
    assert_eq!(format!("{secret:?}"), "Secret(…)");
    assert_eq!(format!("{:#?}", Some(secret.clone())), "Some(\n    Secret(…),\n)");
    assert_eq!(secret.expose(), "hunter2");
}

#[test]
fn i_12_keys_do_not_print_their_private_half() {
    let bytes = [0xa5; 32];
    check(&format!("{:?}", SealingKey::from_bytes(bytes)), &bytes);
    for algorithm in [KeyAlgorithm::Es256, KeyAlgorithm::EdDsa] {
        let key = SigningKey::generate(algorithm).unwrap();
        let pem = key.to_pem().unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.verifying().thumbprint_text()), "{shown}");
        for line in pem.lines().filter(|line| !line.starts_with('-')) {
            assert!(!shown.contains(line), "{shown}");
        }
    }
}

#[test]
fn i_12_a_ring_and_its_errors_print_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let ring = KeyRing::create(&path, [0xa5; 32]).unwrap();
    let shown = format!("{ring:?}");
    check(&shown, &[0xa5; 32]);
    assert!(shown.contains("Secret(…)"), "{shown}");
    let pem = std::fs::read_to_string(path.join("token.pem")).unwrap();
    std::fs::write(path.join("log.pem"), pem.replace("MI", "MX")).unwrap();
    let error = KeyRing::open(&path).unwrap_err();
    let shown = format!("{error} {error:?}");
    for line in pem.lines().filter(|line| line.len() > 30 && !line.starts_with('-')) {
        assert!(!shown.contains(line), "{shown}");
    }
}
