//! The credentials of Web apps: a client id and a secret, of which the hash alone is kept.

use std::fmt;
use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, BASE64};
use muster_proto::{Reason, Timestamp};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::metadata::MetadataMap;

use crate::registry::{ClientId, SecretHash, WebApp};

/// A Web app that showed a secret that is valid now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppCaller {
    /// Its id.
    pub id: i64,
    /// What it is known by.
    pub client_id: Arc<str>,
    /// What the secret that it showed is kept by.
    pub secret: SecretHash,
    /// When the secret can no longer be used; `None` unless it was replaced.
    pub expires_at: Option<Timestamp>,
}

/// What a Web app shows with each call.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// What it is known by.
    pub client_id: String,
    secret: [u8; 32],
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, ..)", self.client_id)
    }
}

/// The hash that a secret is kept by. It needs no salt and no slow function, because a secret is random.
fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// A secret made of these bytes, which nobody must be able to guess, and its hash.
#[must_use]
pub fn new_secret(random: [u8; 32]) -> (String, SecretHash) {
    let secret = "mustersecret_".to_owned() + &BASE32_NOPAD.encode(&random).to_ascii_lowercase();
    let hash = SecretHash(hash(secret.as_bytes()));
    (secret, hash)
}

/// A client id made of these bytes: the text of a UUID of version 4 (RFC 9562).
#[must_use]
pub fn new_client_id(random: u128) -> ClientId {
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let text = format!("{bits:032x}");
    let (low, rest) = (&text[..8], &text[8..]);
    ClientId(format!("{low}-{}-{}-{}-{}", &rest[..4], &rest[4..8], &rest[8..12], &rest[12..]).into())
}

/// The credentials in the metadata of a call (`authorization: Basic base64(CLIENT_ID:SECRET)`, RFC 7617); `None` if the call has no metadata of
/// this scheme.
pub fn basic_credentials(metadata: &MetadataMap) -> Result<Option<Credentials>, Reason> {
    let mut values = metadata.get_all("authorization").iter();
    let Some(encoded) = values
        .next()
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .map(|(_, encoded)| encoded.trim_matches(' '))
    else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Reason::SecretInvalid);
    }
    let text = BASE64.decode(encoded.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let found = text.as_deref().and_then(|text| text.split_once(':')).ok_or(Reason::SecretInvalid)?;
    let (client_id, secret) = found;
    Ok(Some(Credentials { client_id: client_id.to_ascii_lowercase(), secret: hash(secret.as_bytes()) }))
}

impl Credentials {
    /// Who shows them, if they are valid. How long it takes says nothing of how wrong they are.
    #[must_use]
    pub fn caller(&self, app: &WebApp, now: Timestamp) -> Option<AppCaller> {
        let current = bool::from(self.secret.ct_eq(&app.secret.0));
        let previous = app
            .previous
            .filter(|(hash, until)| bool::from(self.secret.ct_eq(&hash.0)) && now < *until)
            .map(|(_, until)| until);
        if !app.is_active() || !(current || previous.is_some()) {
            return None;
        }
        let expires_at = if current { None } else { previous };
        let secret = SecretHash(self.secret);
        Some(AppCaller { id: app.id.0, client_id: Arc::from(&*app.client_id.0), secret, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::WebAppId;
    use muster_proto::Text;
    use tonic::metadata::MetadataValue;

    fn shown(text: &str) -> Result<Option<Credentials>, Reason> {
        let mut metadata = MetadataMap::new();
        metadata.append("authorization", MetadataValue::try_from(text).unwrap());
        basic_credentials(&metadata)
    }

    #[test]
    fn a_client_id_is_the_text_of_a_random_uuid() {
        assert_eq!(&*new_client_id(0).0, "00000000-0000-4000-8000-000000000000");
        assert_eq!(&*new_client_id(u128::MAX).0, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn an_old_secret_is_valid_until_its_grace_is_over_and_no_other_ever_is() {
        let at = Timestamp::from_micros;
        let ((old, old_hash), (new, new_hash)) = (new_secret([1; 32]), new_secret([2; 32]));
        let app = WebApp {
            id: WebAppId(7),
            client_id: new_client_id(1),
            name: "shop".parse().unwrap(),
            secret: new_hash,
            previous: Some((old_hash, at(10))),
            request_id: Text::default(),
            created_at: at(0),
            updated_at: at(0),
            deleted_at: None,
        };
        let caller = |app: &WebApp, secret: &str, now| {
            let encoded = BASE64.encode(format!("{}:{secret}", app.client_id.0).as_bytes());
            shown(&format!("bASIC  {encoded}")).unwrap().unwrap().caller(app, at(now))
        };
        assert_eq!(caller(&app, &new, 99).unwrap().expires_at, None);
        assert_eq!(caller(&app, &old, 9).unwrap().expires_at, Some(at(10)));
        assert_eq!(caller(&app, &old, 10), None);
        assert_eq!(caller(&app, "", 0), None);
        assert_eq!(caller(&WebApp { deleted_at: Some(at(1)), ..app }, &new, 1), None);
    }

    #[test]
    fn metadata_of_another_scheme_is_not_for_web_apps_and_half_credentials_are_refused() {
        assert_eq!(shown("Bearer muster_x"), Ok(None));
        for text in ["Basic", "Basic !", "Basic YWJj", "Basic "] {
            assert!(matches!(shown(text), Err(Reason::SecretInvalid) | Ok(None)), "{text}");
        }
        assert_eq!(shown("Basic YWJj"), Err(Reason::SecretInvalid));
        let shown = format!("{:?}", shown("Basic YTpi").unwrap().unwrap());
        assert_eq!(shown, "Credentials(\"a\", ..)");
    }
}
