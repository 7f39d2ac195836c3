//! Who calls the binary: an admin and a relay, with what its data directory holds.

use std::net::SocketAddr;
use std::path::Path;

use muster_proto::v1;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::process::{binary, run};

pub(crate) type AdminConnection = InterceptedService<Channel, Token>;

/// The token of an admin.
#[derive(Clone, Debug)]
pub(crate) struct Token(MetadataValue<Ascii>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

fn connect(data: &Path, address: SocketAddr, identity: Option<Identity>) -> Channel {
    let ca = Certificate::from_pem(std::fs::read(data.join("ca.pem")).unwrap());
    let mut tls = ClientTlsConfig::new().ca_certificate(ca);
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    endpoint.tcp_nodelay(true).connect_lazy()
}

/// A connection of the admin, which the first call makes.
pub(crate) fn admin(data: &Path, address: SocketAddr) -> AdminConnection {
    let token = std::fs::read_to_string(data.join("admin-token")).unwrap();
    let token = Token(format!("Bearer {}", token.trim_end()).parse().unwrap());
    InterceptedService::new(connect(data, address, None), token)
}

/// A certificate of a relay for all devices, issued by the binary.
pub(crate) async fn relay_certificate(data: &Path) -> Identity {
    let out = tempfile::tempdir().unwrap();
    let mut command = binary(["relay-cert", "--name", "fmg-1", "--data-dir"]);
    command.arg(data).arg("--out").arg(out.path());
    let ended = run(command).await;
    assert!(ended.status.success(), "{ended:?}");
    let read = |name: &str| std::fs::read(out.path().join(name)).unwrap();
    Identity::from_pem(read("fmg-1.pem"), read("fmg-1.key"))
}

/// A connection of a relay, which the first call makes.
pub(crate) fn relay(data: &Path, address: SocketAddr, certificate: &Identity) -> DeviceServiceClient<Channel> {
    DeviceServiceClient::new(connect(data, address, Some(certificate.clone())))
}

/// A registration with these VDOMs.
pub(crate) fn register(serial: &str, vdoms: impl IntoIterator<Item = impl Into<String>>) -> v1::RegisterRequest {
    let vdoms = vdoms.into_iter().map(|name| v1::Vdom { name: name.into() }).collect();
    v1::RegisterRequest { serial_number: serial.to_owned(), vdoms, ..Default::default() }
}
