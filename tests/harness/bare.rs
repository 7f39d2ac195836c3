//! TLS and HTTP/2 without a gRPC channel around them: no timers, no reconnection, nothing said that the test does not say.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use muster_proto::raw::RawCodec;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use prost::bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::Status;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request, Response, Uri};
use tower::util::{BoxCloneSyncService, service_fn};

use crate::{DAY, Issued, Muster};

/// One HTTP/2 connection.
pub type Bare = BoxCloneSyncService<Request<Body>, Response<Incoming>, hyper::Error>;

impl Muster {
    /// A connection with a finished handshake, as this device or as nobody, on which nothing has been said.
    pub async fn tls(&self, serial: Option<&str>) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.operator_ca().certificate().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match serial {
            None => builder.with_no_client_auth(),
            Some(serial) => {
                let Issued { certificate, key } = self.device_ca().issue(serial, &[], DAY);
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// A connection of a device that leaves every deadline to the server.
    async fn patient(&self, serial: &str) -> (Bare, Uri) {
        let stream = TokioIo::new(self.tls(Some(serial)).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let service = service_fn(move |request| sender.clone().send_request(request));
        (BoxCloneSyncService::new(service), format!("https://{}", self.address()).parse().unwrap())
    }

    /// A client on such a connection.
    pub async fn patient_device(&self, serial: &str) -> DeviceServiceClient<Bare> {
        let (connection, origin) = self.patient(serial).await;
        DeviceServiceClient::with_origin(connection, origin)
    }

    /// What comes of a call on such a connection whose message never comes.
    pub async fn unfinished(&self, serial: &str, method: &'static str, deadline: Duration) -> Status {
        let (connection, origin) = self.patient(serial).await;
        let mut grpc = Grpc::with_origin(connection, origin);
        grpc.ready().await.unwrap();
        let mut request = tonic::Request::new(tokio_stream::pending::<Bytes>());
        request.set_timeout(deadline);
        let answer = grpc.client_streaming(request, PathAndQuery::from_static(method), RawCodec).await;
        answer.map(tonic::Response::into_inner).unwrap_err()
    }

    /// The certificate that the server shows now.
    pub async fn shown_certificate(&self) -> CertificateDer<'static> {
        let stream = self.tls(None).await;
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain[0].clone().into_owned()
    }
}
