//! The server under test, and the boxes that the checks make for themselves.

use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use muster_proto::v1;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use rustls::pki_types::PrivateKeyDer;
use time::OffsetDateTime;
use tokio::time::timeout;
use tonic::{Code, Response, Status};

use super::Found;
use crate::certificate::{Factory, FactoryCa};
use crate::connect::{Connection, Dialer};
use crate::failure::Refusal;
use crate::fleet::Way;
use crate::fleet::admin::{Admin, AdminChannel};
use crate::http2::Http2;
use crate::tls::Trust;

const LIMIT: Duration = Duration::from_secs(10);

/// The server under test.
#[derive(Debug)]
pub struct Subject {
    way: Way,
    trust: Trust,
    factory: Factory,
    now: OffsetDateTime,
    /// The number of the next box: no two runs share one, as long as the clock goes on.
    next: AtomicU64,
    /// The boxes of the check at hand.
    made: Mutex<Vec<Caller>>,
    /// An admin, if there is a token.
    pub(super) admin: Option<Admin>,
}

/// A box of a check, with a connection.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) serial: String,
    pub(super) connection: Connection,
    pub(super) client: DeviceServiceClient<Http2>,
}

/// What every call was expected to be, in the words of a check.
#[expect(clippy::needless_pass_by_value, reason = "a check reads better without the borrows")]
pub(super) fn expect<T: PartialEq + Debug>(what: &str, got: T, expected: T) -> Found {
    if got == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}

/// The answer of a call that must end well.
pub(super) fn answered<T>(what: &str, result: Result<Response<T>, Status>) -> Result<T, String> {
    match result {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(format!("{what}: expected an answer, got {:?} ({})", status.code(), Refusal::from(&status))),
    }
}

/// The refusal of a call that must be refused with this code and reason, and with what every refusal has.
pub(super) fn refused<T>(what: &str, result: Result<T, Status>, code: Code, reason: &str) -> Result<Refusal, String> {
    let Err(status) = result else { return Err(format!("{what}: expected {code:?} ({reason}), and it was done")) };
    let refusal = Refusal::from(&status);
    expect(what, (status.code(), refusal.reason.as_str()), (code, reason))?;
    if refusal.fix.is_empty() {
        return Err(format!("{what}: expected Help with a fix, got none"));
    }
    Ok(refusal)
}

/// Names and outcomes, as in "dmz created".
pub(super) fn items(vdoms: &[v1::VdomOutcome]) -> Vec<String> {
    let text = |item: &v1::VdomOutcome| {
        let outcome = item.outcome().as_str_name().trim_start_matches("OUTCOME_").to_lowercase();
        format!("{} {outcome}", item.vdom)
    };
    vdoms.iter().map(text).collect()
}

/// VDOMs of these names.
pub(super) fn vdoms(names: &[&str]) -> Vec<v1::Vdom> {
    names.iter().map(|name| v1::Vdom { name: (*name).to_owned() }).collect()
}

/// The digest of a device without info and with these VDOMs.
pub(super) fn digest(names: &[&str]) -> Result<Vec<u8>, String> {
    let names: Result<Vec<_>, _> = names.iter().map(|name| name.parse()).collect();
    Ok(muster_proto::digest([""; 3], names.map_err(|error| format!("{error}"))?).to_vec())
}

impl Caller {
    pub(super) fn register_request(&self, names: &[&str]) -> v1::RegisterRequest {
        v1::RegisterRequest { serial_number: self.serial.clone(), vdoms: vdoms(names), ..Default::default() }
    }

    pub(super) fn sync_request(&self, names: &[&str]) -> v1::SyncRequest {
        let full_list = Some(v1::VdomList { vdoms: vdoms(names) });
        v1::SyncRequest { serial_number: self.serial.clone(), full_list, ..Default::default() }
    }

    pub(super) async fn register(&mut self, names: &[&str]) -> Result<v1::RegisterResponse, String> {
        answered("Register", self.client.register(self.register_request(names)).await)
    }

    pub(super) async fn sync(&mut self, names: &[&str]) -> Result<v1::SyncResponse, String> {
        answered("Sync", self.client.sync(self.sync_request(names)).await)
    }
}

impl Subject {
    /// The server at the end of this way, with the authorities of this data directory.
    pub(super) fn new(way: &Way, data: &Path, now: OffsetDateTime) -> anyhow::Result<Self> {
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| {
                format!("could not read {}: name the data directory of the server with --muster-data", path.display())
            })
        };
        let text = |name| anyhow::Ok(String::from_utf8_lossy(&read(&data.join(name))?).into_owned());
        let trust = Trust::new(&read(way.ca.as_ref().unwrap_or(&data.join("ca.pem")))?)?;
        let ca = FactoryCa { certificate: text("device-ca.pem")?, key: text("device-ca.key")? };
        let factory = Factory::open(&ca, now)?;
        let tls = Arc::new(trust.client_config(None)?);
        let dialer = Dialer { server: way.server.clone(), tls, connect_timeout: way.connect_timeout };
        let admin = Admin::new(dialer, &data.join("admin-token")).ok();
        // Microseconds: as many as eight characters tell apart, which is more than a month.
        let next = AtomicU64::new(u64::try_from(now.unix_timestamp_nanos() / 1_000).unwrap_or(0));
        Ok(Self { way: way.clone(), trust, factory, now, next, made: Mutex::default(), admin })
    }

    /// A box that nobody has seen before.
    pub(super) async fn device(&self) -> Result<Caller, String> {
        let mut number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut serial = "FGVM02TM".to_owned();
        for _ in 0..8 {
            let digit = u32::try_from(number % 36).ok().and_then(|digit| char::from_digit(digit, 36));
            serial.extend(digit.map(|digit| digit.to_ascii_uppercase()));
            number /= 36;
        }
        let device = self.device_with(&serial).await?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(device.clone());
        Ok(device)
    }

    /// Deletes the boxes of the check that has ended, however it ended: nothing of them is left but what every deletion leaves.
    pub(super) async fn tidy(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        for mut device in made {
            let target = Some(v1::delete_request::Target::WholeDevice(v1::WholeDevice {}));
            let delete = v1::DeleteRequest { serial_number: device.serial.clone(), target, ..Default::default() };
            // What a check left in such a state that this fails is beyond repair from here.
            let _ = timeout(LIMIT, device.client.delete(delete)).await;
        }
    }

    /// Another connection of a box.
    pub(super) async fn device_with(&self, serial: &str) -> Result<Caller, String> {
        let failed = |error: &dyn std::fmt::Display| format!("a box with a certificate: {error}");
        let parsed = serial.parse().map_err(|error| failed(&error))?;
        let key = self.factory.lasting_key(&parsed, 0).map_err(|error| failed(&error))?;
        let certificate = self.factory.certify(&parsed, &key, self.now).map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| failed(&error))?;
        let tls = self.trust.client_config(Some((vec![certificate.der().clone()], key)));
        let tls = Arc::new(tls.map_err(|error| failed(&error))?);
        self.caller(serial, tls).await
    }

    /// Somebody without a certificate.
    pub(super) async fn nobody(&self, serial: &str) -> Result<Caller, String> {
        let tls = self.trust.client_config(None).map_err(|error| error.to_string())?;
        self.caller(serial, Arc::new(tls)).await
    }

    async fn caller(&self, serial: &str, tls: Arc<rustls::ClientConfig>) -> Result<Caller, String> {
        let dialer = Dialer { server: self.way.server.clone(), tls, connect_timeout: self.way.connect_timeout };
        let connection = dialer.connect(LIMIT).await.map_err(|error| format!("{}: {error}", error.stage()))?;
        let client = DeviceServiceClient::new(connection.channel.clone());
        Ok(Caller { serial: serial.to_owned(), connection, client })
    }

    /// A connection of the admin.
    pub(super) async fn admin(&self) -> Result<AdminChannel, String> {
        let admin = self.admin.as_ref().ok_or("there is no admin token")?;
        admin.connect().await.map(|(_, channel)| channel).map_err(|error| format!("the admin: {error}"))
    }
}
