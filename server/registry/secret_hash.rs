//! The hash of a secret.

use std::fmt;

/// The hash that a secret is known by. It does not show when it is debugged: it is drawn at random each time that a command is worked out,
/// and a plan must not depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}
