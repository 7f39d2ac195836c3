//! What certificates say of themselves.

use super::*;
use crate::identity::names::{self, Names, Validity};

#[test]
fn a_certificate_is_read_to_the_second() {
    let world = World::new();
    let identity = world.device_ca().issue(&world.leaf(SERIAL, &[]));
    let der = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let (names, validity) = names::read(&der).unwrap();
    assert_eq!(names, Names { device: Some(serial()), relay: None });
    let now = world.clock.now();
    assert_eq!(validity, Validity { not_before: now, end: now.plus(DAY + Duration::from_secs(1)) });
}
