//! Where the server is.

use std::fmt;
use std::str::FromStr;

use tonic::transport::Uri;

/// The port of the server if the URL names none.
const DEFAULT_PORT: u16 = 7443;

/// Where the server is, if nobody says otherwise.
pub const DEFAULT_SERVER: &str = "https://127.0.0.1:7443";

/// The address of a server: `https://HOST[:PORT]`. Always TLS, because a device is known by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    host: String,
    port: u16,
}

/// Text that is not the address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// It cannot be read as a URL, or has more than host and port.
    #[error("must be https://HOST or https://HOST:PORT, as in {DEFAULT_SERVER}")]
    Malformed,
    /// It asks for plain text.
    #[error("must begin with https://: the server knows a device by its certificate")]
    NotHttps,
}

impl ServerUrl {
    /// The name or address of the host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, for people and for the `:authority` of a call.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let uri: Uri = text.trim().parse().map_err(|_| ServerUrlError::Malformed)?;
        if uri.scheme_str().is_some_and(|scheme| scheme != "https") {
            return Err(ServerUrlError::NotHttps);
        }
        let authority = uri.authority().ok_or(ServerUrlError::Malformed)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, digits)) if !digits.ends_with(']') => digits.parse().map_err(|_| ServerUrlError::Malformed)?,
            _ => DEFAULT_PORT,
        };
        if !bare || authority.host().is_empty() || port == 0 {
            return Err(ServerUrlError::Malformed);
        }
        Ok(Self { host: authority.host().to_owned(), port })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_server_url_survives_the_round_trip(host in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{2,5})?", port in 1_u16..) {
            let url: ServerUrl = format!("https://{host}:{port}").parse().unwrap();
            prop_assert_eq!((url.host(), url.port()), (host.as_str(), port));
            prop_assert_eq!(url.to_string().parse(), Ok(url));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = text.parse::<ServerUrl>();
        }
    }

    #[test]
    fn the_port_and_the_scheme_may_be_left_out() {
        for (text, host, port) in [
            ("https://ftc.example", "ftc.example", 7443),
            ("ftc.example:99", "ftc.example", 99),
            ("https://[::1]:7443/", "::1", 7443),
            ("https://[::1]", "::1", 7443),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
        }
        assert_eq!("[::1]".parse::<ServerUrl>().unwrap().authority(), "[::1]:7443");
    }

    #[test]
    fn what_is_not_the_address_of_a_server_is_refused() {
        for text in
            ["", "https://", "https://a/b", "https://a?b", "https://u:p@a", "https://a:99999", "https://a:0", "/x"]
        {
            assert_eq!(text.parse::<ServerUrl>(), Err(ServerUrlError::Malformed), "{text}");
        }
        assert_eq!("http://127.0.0.1:7443".parse::<ServerUrl>(), Err(ServerUrlError::NotHttps));
    }
}
