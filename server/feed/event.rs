//! Debug events, as they are recorded and as they are held.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use muster_proto::debug_log::Level;
use muster_proto::encoded::EncodedResponse;
use muster_proto::{Cursor, Reason, SerialNumber, Timestamp, VdomName, printable};
use tonic::Code;

use super::encode;
use super::ring::Held;
use crate::operation::OperationId;
use crate::registry::{RealmId, WebAppId};

/// The component of what the server itself does.
pub const COMPONENT: &str = "ftc";

/// A value that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueChange {
    /// The name of the field.
    pub field: &'static str,
    /// The value before; empty if there was none.
    pub before: String,
    /// The value after; empty if there is none.
    pub after: String,
}

/// One line of the debug feed. Secrets never enter it; other text may be anything, because recording makes it safe for terminals.
#[derive(Clone, Debug, PartialEq)]
pub struct DebugEvent {
    /// When it is recorded.
    pub time: Timestamp,
    /// When it happened by the clock of the device, if the device said so.
    pub device_time: Option<Timestamp>,
    /// The operation it belongs to.
    pub operation: OperationId,
    /// The device it is about, if one is known.
    pub serial: Option<SerialNumber>,
    /// The VDOM it is about, unless it is about the device as a whole.
    pub vdom: Option<VdomName>,
    /// The realm it is about, if any.
    pub realm: Option<Arc<str>>,
    /// The id of that realm: what admins of some realms see goes by it, because a name may change. It is not sent.
    pub realm_id: Option<RealmId>,
    /// The Web app it is about, if it is about one.
    pub web_app: Option<WebAppId>,
    /// The component: an open set of names.
    pub component: Cow<'static, str>,
    /// The level.
    pub level: Level,
    /// What was being done, as in "sync.vdom".
    pub step: &'static str,
    /// What happened, for people.
    pub message: Cow<'static, str>,
    /// Why, where there is something to explain.
    pub reason: Option<Reason>,
    /// The values that changed.
    pub changes: Vec<ValueChange>,
    /// Who called, as in "device:SERIAL", if somebody was identified.
    pub caller: Option<Arc<str>>,
    /// How the operation ended, if this is its last event.
    pub terminal: Option<Code>,
}

impl DebugEvent {
    /// An event of the server itself, about nothing in particular: set the other fields as they are known.
    #[must_use]
    pub fn new(
        time: Timestamp,
        operation: OperationId,
        level: Level,
        step: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            time,
            device_time: None,
            operation,
            serial: None,
            vdom: None,
            realm: None,
            realm_id: None,
            web_app: None,
            component: Cow::Borrowed(COMPONENT),
            level,
            step,
            message: message.into(),
            reason: None,
            changes: Vec::new(),
            caller: None,
            terminal: None,
        }
    }

    /// Writes what a terminal would act on as escapes. At recording rather than later, so that filters see what viewers see.
    fn make_safe(&mut self) {
        for text in [&mut self.component, &mut self.message] {
            if acts(text) {
                *text = Cow::Owned(printable(text));
            }
        }
        for text in [&mut self.realm, &mut self.caller].into_iter().flatten() {
            if acts(text) {
                *text = printable(text).into();
            }
        }
        for text in self.changes.iter_mut().flat_map(|change| [&mut change.before, &mut change.after]) {
            if acts(text) {
                *text = printable(text);
            }
        }
    }

    /// How many bytes its texts have that an allocation of their own holds.
    fn heap_bytes(&self) -> usize {
        let owned = [&self.component, &self.message].into_iter().filter(|text| matches!(text, Cow::Owned(_)));
        let shared = [&self.realm, &self.caller].into_iter().flatten();
        let changes = self.changes.iter().map(|change| change.before.len() + change.after.len() + size_of_val(change));
        owned.map(|text| text.len()).chain(shared.map(|text| text.len())).chain(changes).sum()
    }

    /// The most bytes that it has when encoded.
    fn encoded_bytes(&self) -> usize {
        let reason = self.reason.map_or("", Reason::as_str);
        let vdom = self.vdom.as_ref().map_or("", VdomName::as_str);
        let texts = [vdom, &self.component, self.step, &self.message, reason].into_iter();
        let shared = [&self.realm, &self.caller].into_iter().flatten().map(|text| text.len());
        let changes = self
            .changes
            .iter()
            .map(|change| encode::CHANGE_FIXED + change.field.len() + change.before.len() + change.after.len());
        let web_app = if self.web_app.is_some() { encode::WEB_APP } else { 0 };
        encode::FIXED + web_app + texts.map(str::len).chain(shared).chain(changes).sum::<usize>()
    }
}

/// Whether text has anything but plain ASCII, and so must be looked at closely. Without an early exit, so that it is vectorised.
fn acts(text: &str) -> bool {
    !text.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte))
}

/// An event in the ring.
#[derive(Debug)]
pub(super) struct Entry {
    event: DebugEvent,
    bytes: usize,
    encoded: OnceLock<EncodedResponse>,
}

impl Entry {
    /// What an entry takes besides its texts and its encoding: itself, its two reference counts, and its place in the ring, which may
    /// have as much room again to grow.
    const FIXED: usize = size_of::<Self>() + 16 + 2 * size_of::<(Arc<Self>, Timestamp)>();

    /// Readies an event for the ring.
    pub(super) fn new(mut event: DebugEvent) -> Self {
        event.make_safe();
        // The encoding is counted before it is made, so that viewers do not change how much is held.
        let bytes = Self::FIXED + event.heap_bytes() + event.encoded_bytes();
        Self { event, bytes, encoded: OnceLock::new() }
    }

    /// The event.
    pub(super) fn event(&self) -> &DebugEvent {
        &self.event
    }

    /// The event as viewers get it: encoded by the first that asks, and shared by the others.
    pub(super) fn encoded(&self, cursor: Cursor) -> EncodedResponse {
        self.encoded.get_or_init(|| encode::event(&self.event, cursor)).clone()
    }
}

impl Held for Arc<Entry> {
    type Key = SerialNumber;

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn time(&self) -> Timestamp {
        self.event.time
    }

    fn key(&self) -> Option<SerialNumber> {
        self.event.serial
    }
}
