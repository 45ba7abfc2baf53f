//! What the commands do to the registry, and that the file survives them.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

const NOW_S: u64 = 1_795_435_200;

fn token(number: u8) -> Grant {
    Grant::Token { id: Hex([number; 8]), sha256: Hex([number; 32]) }
}

fn key(number: u8) -> Grant {
    Grant::Certificate { spki_sha256: Hex([number; 32]) }
}

fn with_acme() -> Registry {
    let mut registry = Registry::default();
    registry.add("acme", Hex([1; 16]), &token(1), NOW_S, None).unwrap();
    registry
}

#[test]
fn a_name_is_taken_until_it_is_revoked_and_comes_back_under_its_id() {
    let mut registry = with_acme();
    let again = registry.add("acme", Hex([2; 16]), &token(2), NOW_S, None);
    assert_eq!(again.unwrap_err().code(), "door_name_taken");
    registry.revoke("acme", NOW_S + 5).unwrap();
    registry.revoke("acme", NOW_S + 9).unwrap();
    assert_eq!(registry.contributors[0].revoked_at_s, Some(NOW_S + 5));
    let rotated = registry.rotate("acme", &token(2), NOW_S, NOW_S, None);
    assert_eq!(rotated.unwrap_err().code(), "door_revoked");
    registry.add("acme", Hex([2; 16]), &token(3), NOW_S + 9, None).unwrap();
    let acme = &registry.contributors[0];
    assert_eq!((acme.id, acme.revoked_at_s, acme.tokens.len()), (Hex([1; 16]), None, 1));
    assert_eq!(acme.tokens[0].id, Hex([3; 8]), "the token that was revoked stays so");
    assert_eq!(registry.revoke("other", NOW_S).unwrap_err().code(), "door_unknown_name");
    for name in ["", "a b", "a/b", &"x".repeat(65)] {
        assert_eq!(registry.add(name, Hex([9; 16]), &token(9), NOW_S, None).unwrap_err().code(), "door_name");
    }
}

#[test]
fn rotation_ends_the_old_after_the_grace_and_forgets_what_has_expired() {
    let mut registry = with_acme();
    registry.rotate("acme", &token(2), NOW_S, NOW_S + 3_600, None).unwrap();
    let expiries = |registry: &Registry| -> Vec<_> {
        registry.contributors[0].tokens.iter().map(|token| (token.id.0[0], token.expires_at_s)).collect()
    };
    assert_eq!(expiries(&registry), [(1, Some(NOW_S + 3_600)), (2, None)]);
    registry.rotate("acme", &token(3), NOW_S + 60, NOW_S + 7_200, Some(NOW_S + 90_000)).unwrap();
    let earlier = Some(NOW_S + 3_600);
    assert_eq!(expiries(&registry), [(1, earlier), (2, Some(NOW_S + 7_200)), (3, Some(NOW_S + 90_000))]);
    registry.rotate("acme", &token(4), NOW_S + 7_200, NOW_S + 7_200, None).unwrap();
    assert_eq!(expiries(&registry), [(3, Some(NOW_S + 7_200)), (4, None)]);
    registry.rotate("acme", &key(1), NOW_S + 7_200, NOW_S + 7_200, None).unwrap();
    assert_eq!(expiries(&registry).len(), 2, "a certificate does not end tokens");
}

#[test]
fn a_certificate_is_one_contributors() {
    let mut registry = with_acme();
    registry.rotate("acme", &key(7), NOW_S, NOW_S, None).unwrap();
    let taken = registry.add("beta", Hex([2; 16]), &key(7), NOW_S, None);
    assert_eq!(taken.unwrap_err().code(), "door_certificate_taken");
    assert_eq!(registry.contributors.len(), 1);
}

#[test]
fn the_file_is_private_and_whole_and_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("contributors.json");
    assert_eq!(read(&path).unwrap_err().code(), "door_file");
    update(&path, |registry| registry.add("acme", Hex([1; 16]), &token(1), NOW_S, None)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(read(&path).unwrap(), with_acme());
    let before = std::fs::read(&path).unwrap();
    update(&path, |registry| registry.revoke("nobody", NOW_S)).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(!with_suffix(&path, ".new").exists());

    let text = String::from_utf8(before).unwrap();
    let tokens = text.replace("[]", "[], \"extra\": 1");
    let twice = text.replace("\"contributors\": [", "\"contributors\": [{\"name\": \"acme\", \"id\": \"00000000000000000000000000000000\", \"added_at_s\": 0, \"revoked_at_s\": null},");
    for wrong in ["", "{}", &text.replace("\"version\": 1", "\"version\": 2"), &tokens, &twice] {
        std::fs::write(&path, wrong).unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.code(), "door_content", "{wrong}");
        assert!(!error.to_string().contains("acme"), "{error}");
    }
}

#[test]
fn commands_at_once_happen_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("contributors.json");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let path = &path;
            scope.spawn(move || {
                let name = format!("c{number}");
                update(path, |registry| registry.add(&name, Hex([number; 16]), &token(number), NOW_S, None))
            });
        }
    });
    assert_eq!(read(&path).unwrap().contributors.len(), 20);
}
