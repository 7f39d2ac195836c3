//! Who calls: device certificates, relays, admin tokens, and the built-in CA.
