//! Makes the boxes of a fleet: keys, certificates, what each is and has.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use muster_proto::device::DeviceInfo;
use muster_proto::{SerialNumber, VdomName};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::PrivateKeyDer;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Way;
use super::admin::Admin;
use super::args::Fleet;
use super::run::Mailbox;
use super::serials::MAX_BOXES;
use super::shared::Shared;
use super::standin::StandIn;
use crate::certificate::{Factory, FactoryCa};
use crate::connect::Dialer;
use crate::device::Device;
use crate::tls::Trust;

const FIRMWARE: &str = "v7.4.8,build2795";
const MODEL: &str = "FortiGate-VM01";
/// How many certificates one task makes.
const CHUNK: usize = 64;

pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| {
        format!(
            "could not read {}: start muster-server once, and name its data directory with --muster-data",
            path.display()
        )
    })
}

pub(super) fn admin(fleet: &Fleet, way: &Way, trust: &Trust) -> anyhow::Result<Admin> {
    let tls = Arc::new(trust.client_config(None)?);
    let token = fleet.admin_token.clone().unwrap_or_else(|| fleet.muster_data.join("admin-token"));
    Admin::new(Dialer { server: way.server.clone(), tls, connect_timeout: way.connect_timeout }, &token)
}

pub(super) fn factory(fleet: &Fleet, now: OffsetDateTime) -> anyhow::Result<Arc<Factory>> {
    let text = |name| read(&fleet.muster_data.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let ca = FactoryCa { certificate: text("device-ca.pem")?, key: text("device-ca.key")? };
    Ok(Arc::new(Factory::open(&ca, now)?))
}

pub(super) type Identities = Vec<(SerialNumber, Arc<ClientConfig>)>;

/// Makes a key and a certificate for every box, on as many cores as there are.
pub(super) async fn identities(
    fleet: &Fleet,
    (factory, trust): (&Arc<Factory>, &Trust),
    range: std::ops::Range<u32>,
    now: OffsetDateTime,
) -> anyhow::Result<Identities> {
    let serials: Option<Vec<_>> = range.map(|index| fleet.run.serial(index)).collect();
    let serials = serials.context("the run has too many boxes")?;
    let mut making = JoinSet::new();
    for (number, chunk) in serials.chunks(CHUNK).enumerate() {
        let (chunk, factory, trust) = (chunk.to_vec(), Arc::clone(factory), trust.clone());
        making.spawn_blocking(move || {
            let made: anyhow::Result<Vec<_>> =
                chunk.into_iter().map(|serial| Ok((serial, identity(&factory, &trust, &serial, 0, now)?))).collect();
            made.map(|made| (number, made))
        });
    }
    let mut chunks = Vec::new();
    while let Some(made) = making.join_next().await {
        chunks.push(made.context("a certificate could not be made")??);
    }
    chunks.sort_by_key(|(number, _)| *number);
    Ok(chunks.into_iter().flat_map(|(_, made)| made).collect())
}

/// The TLS of one box, or of a copy of it: a key and a certificate of its own, everything else shared.
pub(super) fn identity(
    factory: &Factory,
    trust: &Trust,
    serial: &SerialNumber,
    copy: u8,
    now: OffsetDateTime,
) -> anyhow::Result<Arc<ClientConfig>> {
    let key = factory.lasting_key(serial, copy)?;
    let certificate = factory.certify(serial, &key, now)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let mut tls = trust.client_config(Some((vec![certificate.der().clone()], key)))?;
    // A box proves itself anew each time, as after a reboot; and the cache of sessions is bigger than the rest of the box.
    tls.resumption = Resumption::disabled();
    Ok(Arc::new(tls))
}

pub(super) fn make(
    fleet: &Fleet,
    way: &Way,
    shared: &Arc<Shared>,
    (index, serial): (u32, SerialNumber),
    tls: Arc<ClientConfig>,
    source: Option<IpAddr>,
) -> anyhow::Result<Mailbox> {
    let info =
        DeviceInfo { model: MODEL.parse()?, hostname: format!("fleet-{index}").parse()?, firmware: FIRMWARE.parse()? };
    let mut device = Device::new(serial, info, way.server.clone());
    for number in 1..fleet.vdoms {
        device.add_vdom(format!("v{number}").parse()?)?;
    }
    let dialer = Dialer { server: way.server.clone(), tls, connect_timeout: way.connect_timeout };
    let chance = fleet.seed.wrapping_mul(u64::from(MAX_BOXES)).wrapping_add(index.into());
    let mut rng = StdRng::seed_from_u64(chance);
    let boot_id = format!("{:016x}", rng.random::<u64>());
    let mut stand_in = StandIn {
        index,
        device,
        dialer,
        source,
        rng,
        shared: Arc::clone(shared),
        users: std::collections::BTreeMap::new(),
        next_user: 0,
        about: VdomName::ROOT,
        ha: None,
        standing: None,
        line: None,
        channel: None,
        keeps_channel: true,
        boot_id,
        pacing: None,
        reconnect_after: None,
        lost: None,
        healthy: None,
        acknowledged: None,
        next_vdom: fleet.vdoms,
    };
    for _ in 0..fleet.users {
        stand_in.grow();
    }
    let (asks, asked) = mpsc::unbounded_channel();
    let task = tokio::spawn(Box::new(stand_in).live(asked));
    Ok(Mailbox { serial, index, asks, task })
}
