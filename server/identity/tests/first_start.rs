//! What starts make, keep and mend.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::identity::ca::AuthorityError;
use crate::identity::relay::Relay;
use crate::identity::renewal::keep_server_certificate;

/// In the order in which a first start writes them.
const FILES: [DataFile; 6] =
    [DataFile::CaKey, DataFile::Ca, DataFile::DeviceCaKey, DataFile::DeviceCa, DataFile::ServerKey, DataFile::Server];

impl World {
    fn texts(&self) -> Vec<Option<String>> {
        FILES.iter().map(|file| self.data.read(*file).unwrap()).collect()
    }

    /// A start, and whether its server certificate serves.
    fn try_start(&self) -> Result<(), AuthorityError> {
        let authority = Authority::ensure(&self.data, self.clock.now())?;
        authority.ensure_device_ca(self.clock.now())?;
        authority.ensure_server_certificate(&[], self.clock.now())
    }

    async fn assert_serves(&self) {
        let mut gate = Gate::open(self.trust(), HandshakeLimits::default()).await;
        let identity = self.device_ca().issue(&self.leaf(SERIAL, &[]));
        let _client = self.connect(gate.address, Some(&identity)).await.unwrap();
        let connection = gate.connections.recv().await.unwrap();
        assert_eq!(
            connection.peer().caller(self.clock.now()).unwrap().unwrap().to_string(),
            format!("device:{SERIAL}")
        );
    }
}

#[tokio::test]
async fn a_second_start_reuses_what_the_first_has_made() {
    let world = World::new();
    let first = world.texts();
    assert!(first.iter().all(Option::is_some));
    world.clock.advance(DAY * 300);
    world.start();
    assert_eq!(world.texts(), first);
    world.assert_serves().await;
}

#[test]
fn keys_are_for_the_server_alone() {
    let world = World::new();
    for file in FILES {
        let mode = fs::metadata(world.data.path(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if file.name().contains("key") { 0o600 } else { 0o644 }, "{}", file.name());
    }
}

#[tokio::test]
async fn a_start_that_was_killed_is_completed_by_the_next() {
    for written in 0..FILES.len() {
        let world = World::new();
        let before = world.texts();
        for file in &FILES[written..] {
            fs::remove_file(world.data.path(*file)).unwrap();
        }
        world.start();
        assert_eq!(world.texts()[..written], before[..written]);
        world.assert_serves().await;
    }
}

#[test]
fn whichever_files_are_lost_a_start_mends_them_or_names_the_one_it_needs() {
    let world = World::new();
    let texts = world.texts();
    for kept in 0..1_u32 << FILES.len() {
        let has = |file: DataFile| FILES.iter().position(|other| *other == file).is_some_and(|at| kept & 1 << at != 0);
        for (file, text) in FILES.iter().zip(&texts) {
            match text {
                Some(text) if has(*file) => fs::write(world.data.path(*file), text).unwrap(),
                _ => _ = fs::remove_file(world.data.path(*file)),
            }
        }
        match world.try_start() {
            Ok(())
                if has(DataFile::Server) && !has(DataFile::ServerKey) && has(DataFile::Ca) && !has(DataFile::CaKey) =>
            {
                // Nothing can be issued without the key of the CA, and the certificate is of no use without its own.
                Trust::load(TrustFiles::of(&world.data), Arc::clone(&world.clock) as _).unwrap_err();
            }
            Ok(()) => _ = world.trust(),
            Err(AuthorityError::Missing { path }) => {
                assert!(path.ends_with("ca.key") && has(DataFile::Ca) && !has(DataFile::CaKey), "{path:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_server_certificate_is_made_anew_in_time_and_with_the_same_key() {
    let world = World::new();
    let (key, certificate) = (world.text(DataFile::ServerKey), world.text(DataFile::Server));
    world.clock.advance(DAY * 366);
    world.start();
    assert_eq!(world.text(DataFile::Server), certificate);
    world.clock.advance(DAY * 2);
    world.start();
    assert_ne!(world.text(DataFile::Server), certificate);
    assert_eq!(world.text(DataFile::ServerKey), key);
    world.assert_serves().await;
}

#[test]
fn a_server_certificate_is_made_anew_for_a_new_name_and_a_new_ca() {
    let world = World::new();
    let authority = Authority::ensure(&world.data, world.clock.now()).unwrap();
    let mut before = world.text(DataFile::Server);
    for (names, is_new) in [
        (vec!["MUSTER.example", "127.0.0.1", "not a host name"], false),
        (vec!["muster.example", "192.0.2.7"], true),
        (vec!["2001:db8::7"], true),
        (vec!["2001:0db8::0007"], false),
    ] {
        let owned: Vec<_> = names.iter().copied().map(str::to_owned).collect();
        authority.ensure_server_certificate(&owned, world.clock.now()).unwrap();
        assert_eq!(world.text(DataFile::Server) != before, is_new, "{names:?}");
        before = world.text(DataFile::Server);
    }
    fs::remove_file(world.data.path(DataFile::Ca)).unwrap();
    fs::remove_file(world.data.path(DataFile::CaKey)).unwrap();
    world.start();
    assert_ne!(world.text(DataFile::Server), before);
}

#[test]
fn what_an_operator_has_put_there_is_left_alone() {
    let world = World::new();
    let own = Ca::unknown().issue(&world.leaf("muster.example", &[]));
    world.data.write(DataFile::Server, &own.certificate).unwrap();
    world.data.write(DataFile::ServerKey, "in a form that is not for us to read").unwrap();
    let device_ca = Ca::unknown().certificate;
    world.data.write(DataFile::DeviceCa, &device_ca).unwrap();
    world.clock.advance(DAY * 1000);
    world.start();
    assert_eq!(world.text(DataFile::Server), own.certificate);
    assert_eq!(world.text(DataFile::DeviceCa), device_ca);
}

#[test]
fn the_key_of_the_ca_may_be_elsewhere_until_it_is_needed() {
    let world = World::new();
    fs::remove_file(world.data.path(DataFile::CaKey)).unwrap();
    world.start();
    let certificate = world.text(DataFile::Server);
    world.clock.advance(DAY * 380);
    world.start();
    assert_eq!(world.text(DataFile::Server), certificate);
    let relay = Relay { name: "fmg-1".parse().unwrap(), prefixes: vec![] };
    let error = Authority::load(&world.data).unwrap().issue_relay(&relay, world.clock.now()).unwrap_err();
    assert!(error.to_string().ends_with("ca.key is missing, so no certificate can be issued"), "{error}");
}

#[test]
fn a_key_that_is_not_of_its_ca_is_named() {
    let world = World::new();
    world.data.write(DataFile::CaKey, &world.text(DataFile::DeviceCaKey)).unwrap();
    let error = Authority::load(&world.data).unwrap_err();
    assert!(matches!(error, AuthorityError::KeyMismatch { .. }), "{error}");
    world.data.write(DataFile::CaKey, "scribble").unwrap();
    let error = Authority::load(&world.data).unwrap_err();
    assert!(error.to_string().ends_with("ca.key is not a certificate or key in PEM form"), "{error}");
}

#[test]
fn no_relay_is_issued_before_the_first_start() {
    let temp = tempfile::tempdir().unwrap();
    let data = DataDir::of_running_server(temp.path());
    let error = Authority::load(&data).unwrap_err();
    assert!(error.to_string().ends_with("ca.pem is missing, so no certificate can be issued"), "{error}");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn a_relay_certificate_is_saved_with_its_key_for_its_owner_alone() {
    let world = World::new();
    let relay = Relay { name: "fmg-1".parse().unwrap(), prefixes: vec![] };
    let issued = Authority::load(&world.data).unwrap().issue_relay(&relay, world.clock.now()).unwrap();
    let directory = world.data.path(DataFile::Ca).with_file_name("relays").join("fmg-1");
    for _ in 0..2 {
        let (certificate, key) = issued.save(&directory, &relay.name).unwrap();
        assert_eq!(fs::read_to_string(&certificate).unwrap(), issued.certificate);
        assert_eq!(fs::read_to_string(&key).unwrap(), issued.key);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}

/// Time stands still but for the sleeps of this test, and does not pass while certificates are made.
#[tokio::test(start_paused = true)]
async fn a_server_that_runs_for_years_keeps_a_valid_certificate() {
    let world = World::new();
    let data = DataDir::of_running_server(world.data.path(DataFile::Ca).parent().unwrap());
    let renewal = tokio::spawn(keep_server_certificate(Arc::new(data), vec![], Arc::clone(&world.clock) as _));
    let mut certificates = Vec::new();
    for _ in 0..80 {
        world.clock.advance(DAY * 10);
        tokio::time::sleep(DAY).await;
        certificates.push(world.text(DataFile::Server));
    }
    certificates.dedup();
    assert_eq!(certificates.len(), 3);
    renewal.abort();
}
