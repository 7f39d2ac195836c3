//! The real server, in this process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser as _;
use muster_proto::Reason;
use muster_proto::v1::{self, AdminRole, DebugFilter, StreamDebugLogsRequest};
use muster_server::args::Args;
use muster_server::clock::{Clock as _, SystemClock};
use muster_server::data_dir::{DataDir, DataFile};
use muster_server::identity::ca::Authority;
use muster_server::identity::relay::Relay;
use muster_server::maintenance;
use muster_server::presence::ChannelSettings;
use muster_server::serve::{ServeError, Server, Settings};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Response, Status};

use crate::{Ca, Caller, Database, Issued, Refusal, within};

/// A server that runs, with a data directory of its own.
#[derive(Debug)]
pub struct Muster {
    data: TempDir,
    settings: Settings,
    address: SocketAddr,
    stopping: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
    boxes: Boxes,
}

/// The certificates of devices: one box has one key.
type Boxes = Arc<Mutex<HashMap<String, Issued>>>;

/// A server that has stopped, and its data directory.
#[derive(Debug)]
pub struct Stopped {
    data: TempDir,
    settings: Settings,
    boxes: Boxes,
}

impl Muster {
    /// Starts a server as an operator would who changes nothing.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts a server with other settings.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            data_dir: data.path().to_owned(),
            database: None,
            tls: None,
            device_ca: None,
            insecure_plaintext: false,
            grace: Duration::from_secs(10),
            feed_memory: 8 << 20,
            channels: ChannelSettings::default(),
        };
        change(&mut settings);
        Stopped { data, settings, boxes: Boxes::default() }.start().await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Its database, behind its back.
    #[must_use]
    pub fn database(&self) -> Database {
        Database::of(self.data_dir())
    }

    /// Tells it to stop, as a first SIGTERM does.
    pub fn begin_to_stop(&self) {
        self.stopping.cancel();
    }

    /// Stops it and waits until it has.
    pub async fn stop(self) -> Stopped {
        self.begin_to_stop();
        within(self.serving).await.unwrap().unwrap();
        Stopped { data: self.data, settings: self.settings, boxes: self.boxes }
    }

    /// Stops it, and starts it again on the same data directory.
    pub async fn restart(self) -> Self {
        self.stop().await.start().await
    }

    /// The CA that it trusts devices of.
    #[must_use]
    pub fn device_ca(&self) -> Ca {
        Ca::read(self.data_dir(), DataFile::DeviceCa, DataFile::DeviceCaKey)
    }

    /// The CA of its operator, which issues the certificates of relays and of the server.
    #[must_use]
    pub fn operator_ca(&self) -> Ca {
        Ca::read(self.data_dir(), DataFile::Ca, DataFile::CaKey)
    }

    /// The admin token that the first start made, or the latest rotation.
    #[must_use]
    pub fn admin_token(&self) -> String {
        std::fs::read_to_string(self.data_dir().join(DataFile::AdminToken.name())).unwrap().trim_end().to_owned()
    }

    /// A connection of somebody who shows nothing. It is made by the first call.
    #[must_use]
    pub fn nobody(&self) -> Caller {
        self.caller(None)
    }

    /// A connection of somebody who shows this certificate.
    #[must_use]
    pub fn with_certificate(&self, certificate: &Issued) -> Caller {
        self.caller(Some(certificate))
    }

    /// A connection of the device with this serial number: the same box each time.
    #[must_use]
    pub fn device(&self, serial: &str) -> Caller {
        self.device_by(self.address, serial)
    }

    /// A connection of another box that claims the same serial number, with a key of its own.
    #[must_use]
    pub fn clone_of(&self, serial: &str) -> Caller {
        self.with_certificate(&self.device_ca().issue(serial, &[], crate::DAY))
    }

    /// A connection of a relay, issued as the operator would. Without a prefix it may speak for every device.
    #[must_use]
    pub fn relay(&self, name: &str, prefixes: &[&str]) -> Caller {
        let data = DataDir::of_running_server(self.data_dir());
        let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        let relay = Relay { name: name.parse().unwrap(), prefixes };
        let issued = Authority::load(&data).unwrap().issue_relay(&relay, SystemClock.now()).unwrap();
        self.with_certificate(&Issued { certificate: issued.certificate, key: issued.key })
    }

    /// A connection of the admin.
    #[must_use]
    pub fn admin(&self) -> Caller {
        self.nobody().with_token(&self.admin_token())
    }

    /// A new admin token; realms as "realms/default".
    pub async fn token_of(&self, name: &str, role: AdminRole, realms: &[&str], read_only: bool) -> String {
        let request = v1::CreateAdminTokenRequest {
            display_name: name.to_owned(),
            role: role.into(),
            realms: realms.iter().map(|realm| (*realm).to_owned()).collect(),
            read_only,
            ..Default::default()
        };
        self.admin().admin_tokens().create_admin_token(request).await.unwrap().into_inner().token
    }

    /// A connection of a new admin.
    pub async fn admin_as(&self, name: &str, role: AdminRole, realms: &[&str], read_only: bool) -> Caller {
        self.nobody().with_token(&self.token_of(name, role, realms, read_only).await)
    }

    /// Revokes the token of this name.
    pub async fn revoke(&self, name: &str) {
        let tokens = self.admin().get_admin_tokens().await;
        let token = tokens.into_iter().find(|token| token.display_name == name).unwrap();
        let request = v1::RevokeAdminTokenRequest { name: token.name, ..Default::default() };
        self.admin().admin_tokens().revoke_admin_token(request).await.unwrap();
    }

    /// Checks a failed call: what holds for every [`Refusal`], and that the debug feed has a terminal event of that operation that names
    /// the same code and reason.
    pub async fn refusal<T>(&self, result: Result<Response<T>, Status>) -> Refusal {
        let refusal = Refusal::of(result);
        let only = DebugFilter { operation_id: refusal.operation.clone(), ..Default::default() };
        let request =
            StreamDebugLogsRequest { include: vec![only], earliest: true, follow: true, ..Default::default() };
        let mut follower = self.admin().watch(request).await;
        let event = follower.event(|event| event.terminal).await;
        assert_eq!(event.reason, refusal.reason.as_str());
        assert_eq!(event.code, code_name(refusal.reason));
        assert!(event.message.ends_with(refusal.reason.fix()), "{}", event.message);
        refusal
    }

    /// A connection of a device by way of another address, such as that of a proxy.
    #[must_use]
    pub fn device_by(&self, address: SocketAddr, serial: &str) -> Caller {
        let mut boxes = self.boxes.lock().unwrap();
        let issue = || self.device_ca().issue(serial, &[], crate::DAY);
        self.caller_by(address, Some(boxes.entry(serial.to_owned()).or_insert_with(issue)))
    }

    fn caller(&self, certificate: Option<&Issued>) -> Caller {
        self.caller_by(self.address, certificate)
    }

    fn caller_by(&self, address: SocketAddr, certificate: Option<&Issued>) -> Caller {
        let endpoint = if self.settings.insecure_plaintext {
            Endpoint::from_shared(format!("http://{address}")).unwrap()
        } else {
            let ca = Certificate::from_pem(self.operator_ca().certificate());
            let mut tls = ClientTlsConfig::new().ca_certificate(ca);
            if let Some(certificate) = certificate {
                tls = tls.identity(certificate.identity());
            }
            Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap()
        };
        // Little is on the way to a client that does not read, so that a test can make a viewer slow.
        Caller::new(endpoint.tcp_nodelay(true).initial_stream_window_size(65_535).connect_lazy())
    }
}

/// The code of a reason as the feed writes it: `INVALID_ARGUMENT`.
fn code_name(reason: Reason) -> String {
    let mut name = String::new();
    for character in format!("{:?}", reason.code()).chars() {
        if character.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

impl Stopped {
    /// Its database.
    #[must_use]
    pub fn database(&self) -> Database {
        Database::of(self.data.path())
    }

    /// Starts a server on the data directory.
    pub async fn start(self) -> Muster {
        let Self { data, settings, boxes } = self;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::open(settings.clone(), address, Arc::new(SystemClock)).await.unwrap();
        let stopping = CancellationToken::new();
        let serving = tokio::spawn(server.serve(listener, stopping.clone(), CancellationToken::new()));
        Muster { data, settings, address, stopping, serving, boxes }
    }

    /// Replaces the first admin token, as `muster-server rotate-admin-token` does.
    pub async fn rotate_admin_token(&self) {
        let mut args = Args::parse_from(["muster-server"]);
        args.data_dir = self.settings.data_dir.clone();
        maintenance::rotate_admin_token(&args, SystemClock.now()).await.unwrap();
    }
}
