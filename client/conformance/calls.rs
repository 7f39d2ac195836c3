//! What holds for calls of every kind: deadlines, and health.

use std::time::Duration;

use muster_proto::v1;
use tonic::{Code, Request};

use super::Found;
use super::subject::{Subject, answered, digest, expect};

const HEALTH: &str = "grpc.health.v1.Health/Check";
/// A `HealthCheckResponse` whose status is SERVING.
const SERVING: &[u8] = b"\x08\x01";

pub(super) async fn deadlines_are_kept(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a"]).await?;
    let mut before = digest(&["root", "a"])?;
    for (number, micros) in (0..).zip([1, 100, 300, 1_000, 3_000, 10_000, 10_000_000]) {
        let deadline = Duration::from_micros(micros);
        let name = format!("v{number}");
        let names = ["root", "a", &name];
        let mut request = Request::new(device.sync_request(&names));
        request.set_timeout(deadline);
        let done = match device.client.sync(request).await {
            Ok(_) => true,
            Err(status) if status.code() == Code::DeadlineExceeded => false,
            Err(status) => {
                return Err(format!(
                    "a deadline of {deadline:?}: expected an answer or DeadlineExceeded, got {:?} ({})",
                    status.code(),
                    status.message()
                ));
            }
        };
        // The calls of a device take effect in their order, so that this one finds what became of the one before.
        let probe = v1::SyncRequest { digest: digest(&names)?, full_list: None, ..device.sync_request(&[]) };
        let found = answered("Sync by digest", device.client.sync(probe).await)?;
        let after = digest(&names)?;
        if found.digest != after && (done || found.digest != before) {
            return Err(format!("a deadline of {deadline:?}: the call ended (done: {done}), and is half done"));
        }
        before = found.digest;
    }
    // The last one had all the time that it wanted.
    expect("a deadline of 10 seconds", before, digest(&["root", "a", "v6"])?)
}

/// A `HealthCheckRequest` for this service.
fn health_of(service: &str) -> Vec<u8> {
    let length = u8::try_from(service.len()).unwrap_or(0);
    if length == 0 { Vec::new() } else { [&[0x0a, length], service.as_bytes()].concat() }
}

pub(super) async fn health_is_serving(subject: &Subject) -> Found {
    let device = subject.device().await?;
    for service in ["", "muster.v1.DeviceService"] {
        let answer = answered("Check", device.raw(HEALTH, health_of(service)).await)?;
        expect(&format!("the health of {service:?}"), answer.as_ref(), SERVING)?;
    }
    let unknown = device.raw(HEALTH, health_of("muster.v1.NoSuchService")).await;
    let code = unknown.err().map(|status| status.code());
    expect("the health of a service that is not there", code, Some(Code::NotFound))
}
