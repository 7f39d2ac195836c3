//! How much one caller may ask: calls a second, and calls in flight.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use muster_proto::{Reason, SerialNumber};

use super::status::Failure;
use crate::identity::caller::Caller;

/// Whom a limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Device(SerialNumber),
    Relay(Arc<str>),
    Admin(Arc<str>),
    WebApp(i64),
    /// Someone who could not be identified.
    Address(Option<IpAddr>),
}

impl Key {
    pub(super) fn of(caller: &Caller, label: &Arc<str>) -> Self {
        match caller {
            Caller::Device(serial) => Self::Device(*serial),
            Caller::Relay(_) => Self::Relay(Arc::clone(label)),
            Caller::Admin(_) => Self::Admin(Arc::clone(label)),
            Caller::WebApp(app) => Self::WebApp(app.id),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Device(_) => DEVICE,
            Self::Relay(_) => RELAY,
            Self::Admin(_) => ADMIN,
            Self::WebApp(_) => WEB_APP,
            Self::Address(_) => STRANGER,
        }
    }
}

/// The limits of one kind of caller.
#[derive(Clone, Copy, Debug)]
struct Class {
    /// Calls a second.
    rate: NonZeroU32,
    /// Calls at once, before the rate counts.
    burst: NonZeroU32,
    /// Calls in flight.
    in_flight: u32,
}

const fn class(rate: u32, burst: u32, in_flight: u32) -> Class {
    let (Some(rate), Some(burst)) = (NonZeroU32::new(rate), NonZeroU32::new(burst)) else {
        panic!("a rate of zero would shut everybody out")
    };
    Class { rate, burst, in_flight }
}

/// One box, which has no reason to call often.
const DEVICE: Class = class(50, 200, 16);
/// A proxy for a fleet: the operator's own, and bounded by the writer's queue.
const RELAY: Class = class(1_000_000, 1_000_000, 4_096);
/// A person, a script or a page.
const ADMIN: Class = class(500, 1_000, 256);
/// A portal that adds its users one by one.
const WEB_APP: Class = class(200, 1_000, 64);
/// Whoever tries credentials.
const STRANGER: Class = class(10, 50, 64);

/// Counts the calls of every caller.
#[derive(Debug)]
pub(super) struct Limits {
    devices: DefaultKeyedRateLimiter<Key>,
    relays: DefaultKeyedRateLimiter<Key>,
    admins: DefaultKeyedRateLimiter<Key>,
    web_apps: DefaultKeyedRateLimiter<Key>,
    strangers: DefaultKeyedRateLimiter<Key>,
    in_flight: Mutex<HashMap<Key, u32>>,
}

fn limiter(class: Class) -> DefaultKeyedRateLimiter<Key> {
    RateLimiter::keyed(Quota::per_second(class.rate).allow_burst(class.burst))
}

impl Limits {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            devices: limiter(DEVICE),
            relays: limiter(RELAY),
            admins: limiter(ADMIN),
            web_apps: limiter(WEB_APP),
            strangers: limiter(STRANGER),
            in_flight: Mutex::default(),
        })
    }

    /// Counts one call, until the permit is dropped.
    pub(super) fn admit(self: &Arc<Self>, key: Key) -> Result<Permit, Failure> {
        let limiter = match key {
            Key::Device(_) => &self.devices,
            Key::Relay(_) => &self.relays,
            Key::Admin(_) => &self.admins,
            Key::WebApp(_) => &self.web_apps,
            Key::Address(_) => &self.strangers,
        };
        let class = key.class();
        limiter.check_key(&key).map_err(|not_until| {
            let delay = not_until.wait_time_from(DefaultClock::default().now());
            let message = format!("more than {} calls a second", class.rate);
            // Time has passed since the limiter looked: there is always something to wait for.
            Failure::new(Reason::RateLimited, message).retry_after(delay.max(std::time::Duration::from_millis(1)))
        })?;
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let count = in_flight.entry(key.clone()).or_default();
        if *count >= class.in_flight {
            let message = format!("more than {} calls in flight", class.in_flight);
            return Err(
                Failure::new(Reason::ConcurrencyLimited, message).retry_after(std::time::Duration::from_secs(1))
            );
        }
        *count += 1;
        Ok(Permit { limits: Arc::clone(self), key })
    }

    /// Forgets callers that have not called for a while.
    pub(super) fn tidy(&self) {
        for limiter in [&self.devices, &self.relays, &self.admins, &self.web_apps, &self.strangers] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// One call in flight.
#[derive(Debug)]
pub(super) struct Permit {
    limits: Arc<Limits>,
    key: Key,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut in_flight = self.limits.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = in_flight.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                in_flight.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_at_its_limit_harms_nobody_else() {
        let limits = Limits::new();
        let key = |serial: &str| Key::Device(serial.parse().unwrap());
        let busy: Vec<_> = (0..DEVICE.in_flight).map(|_| limits.admit(key("FG101FTK19002788")).unwrap()).collect();
        let refused = limits.admit(key("FG101FTK19002788")).unwrap_err();
        assert_eq!(refused.refusal.reason, Reason::ConcurrencyLimited);
        limits.admit(key("FG101FTK19002789")).unwrap();
        drop(busy);
        limits.admit(key("FG101FTK19002788")).unwrap();
    }

    #[test]
    fn a_caller_above_its_rate_is_told_when_to_come_back() {
        let limits = Limits::new();
        let address = Key::Address(None);
        let refused = (0..1_000).find_map(|_| limits.admit(address.clone()).err()).unwrap();
        assert_eq!(refused.refusal.reason, Reason::RateLimited);
        let status = refused.status(crate::operation::OperationId::new(muster_proto::Timestamp::from_micros(0), 0));
        let delay = tonic_types::StatusExt::get_details_retry_info(&status).unwrap().retry_delay.unwrap();
        assert!(!delay.is_zero());
    }
}
