//! What is to be said to devices.

use std::sync::Arc;
use std::time::Duration;

use muster_proto::channel::DebugWish;
use muster_proto::v1::channel_response::Kind;
use muster_proto::{Reason, SerialNumber, Timestamp, v1};
use rand::RngExt as _;

use super::line::{End, Line};
use super::{Presence, Wish};
use crate::operation::OperationId;
use crate::registry::{DeleteMode, Device, Refusal, may_call};

/// How long the server may take to come back.
const RESTART: Duration = Duration::from_millis(500);

impl Presence {
    /// The open channel of a device that can be told to sync.
    pub fn can_sync(&self, serial: SerialNumber) -> Result<Arc<Line>, Refusal> {
        let Some(line) = self.line(serial) else {
            return Err(Refusal::new(Reason::DeviceOffline, format!("{serial} has no open channel")));
        };
        if line.features.sync_now {
            return Ok(line);
        }
        let message = format!("{serial} does not sync when it is told to");
        Err(Refusal::new(Reason::ChannelFeatureMissing, message))
    }

    /// Tells a device to sync.
    pub fn sync_now(&self, serial: SerialNumber, sync_now: v1::ChannelSyncNow) -> Result<(), Refusal> {
        self.can_sync(serial)?.say(Kind::SyncNow(sync_now));
        Ok(())
    }

    /// Asks a device for debug lines, now and whenever it opens a channel, until the wish expires. Tells whether it was told now.
    #[must_use]
    pub fn set_debug(&self, serial: SerialNumber, operation: OperationId, wish: DebugWish) -> bool {
        let now = self.0.clock.now();
        let until = now.plus(wish.duration);
        let wish = Wish { operation, asked: wish, until };
        {
            let wishes = &mut self.lock().wishes;
            wishes.retain(|_, wish| wish.until > now);
            // A device that is offline now need not be told later that nothing is wanted: it turns debug off by itself.
            if wish.asked.level_mask == 0 {
                wishes.remove(&serial);
            } else {
                wishes.insert(serial, wish.clone());
            }
        }
        match self.line(serial) {
            Some(line) if line.features.debug => {
                debug(&line, &wish, now);
                true
            }
            _ => false,
        }
    }

    /// Tells a device whose report found no room when to sync: not before `earliest`, and each such device at a moment of its own.
    pub fn pace(&self, serial: SerialNumber, earliest: Duration) {
        let Some(line) = self.line(serial) else { return };
        let next_sync_after = earliest.saturating_add(self.next_slot()).try_into().ok();
        line.say(Kind::Pacing(v1::ChannelPacing { next_sync_after }));
    }

    /// Tells a device that it was removed. The channel of one that may no longer call ends.
    pub fn tell_removed(&self, operation: OperationId, device: &Device) {
        let Some((line, tombstone)) = self.line(device.serial).zip(device.deleted.as_deref()) else { return };
        let mode = match tombstone.mode {
            DeleteMode::Evict => v1::DeleteMode::Evict,
            DeleteMode::Ban => v1::DeleteMode::Ban,
            DeleteMode::Retire => v1::DeleteMode::Retire,
        };
        line.say(Kind::Removed(v1::ChannelRemoved {
            operation_id: operation.to_string(),
            mode: mode.into(),
            why: tombstone.why.to_string(),
        }));
        if let Err(refusal) = may_call(device) {
            line.end(End { refusal, reconnect_after: None });
        }
    }

    /// The open channel of a device.
    fn line(&self, serial: SerialNumber) -> Option<Arc<Line>> {
        self.lock().table.get(serial)?.channel.as_ref()?.upgrade()
    }
}

/// Asks a device for debug lines, if the wish has not expired and the device can send some.
pub(super) fn debug(line: &Line, wish: &Wish, now: Timestamp) {
    let Wish { operation, asked, until } = wish;
    if *until <= now || !line.features.debug {
        return;
    }
    line.say(Kind::Debug(v1::ChannelDebug {
        operation_id: operation.to_string(),
        components: asked.components.clone(),
        level_mask: i32::from(asked.level_mask),
        expire_time: Some((*until).into()),
        duration: until.since(now).try_into().ok(),
    }));
}

/// Over how long so many devices are to return: a millisecond for each, and neither too short for chance nor too long for people.
pub(super) fn reconnect_window(devices: usize) -> Duration {
    let millis = u64::try_from(devices).unwrap_or(u64::MAX);
    Duration::from_millis(millis).clamp(Duration::from_secs(1), Duration::from_secs(30))
}

/// When one of them is to return.
pub(super) fn reconnect_after(window: Duration) -> Duration {
    let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    RESTART + Duration::from_millis(rand::rng().random_range(0..=window))
}
