//! Which events a viewer gets.

use std::cell::OnceCell;

use muster_proto::debug_log::{FeedRequest, Filter};
use muster_proto::{Pattern, SerialNumber, VdomName};

use super::event::DebugEvent;
use super::scope::Scope;

/// The filters of a viewer, after its rights were applied.
#[derive(Debug)]
pub(super) struct Selection {
    include: Vec<Criterion>,
    exclude: Vec<Criterion>,
    scope: Scope,
}

impl Selection {
    /// The filters of this request, as far as the scope allows.
    pub(super) fn new(request: &FeedRequest, scope: &Scope) -> Self {
        Self {
            include: scope.narrow(&request.include).into_iter().map(Criterion::new).collect(),
            exclude: request.exclude.iter().cloned().map(Criterion::new).collect(),
            scope: scope.clone(),
        }
    }

    /// Whether the viewer gets this event.
    pub(super) fn selects(&self, event: &DebugEvent) -> bool {
        // The filters hold every other scope already.
        if matches!(self.scope, Scope::Realms(_) | Scope::WebApp(_)) && !self.scope.sees(event) {
            return false;
        }
        let message = Lowered::new(event);
        let any = |criteria: &[Criterion]| criteria.iter().any(|criterion| criterion.matches(event, &message));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }

    /// The filters whose events are shown; none means all.
    pub(super) fn include(&self) -> impl Iterator<Item = &Filter> {
        self.include.iter().map(|criterion| &criterion.filter)
    }

    /// The filters whose events are left out.
    pub(super) fn exclude(&self) -> impl Iterator<Item = &Filter> {
        self.exclude.iter().map(|criterion| &criterion.filter)
    }

    /// The only serial number whose events can be shown, if there is just one.
    pub(super) fn only_serial(&self) -> Option<SerialNumber> {
        let mut serials = self.include.iter().map(|criterion| match &criterion.filter.serial {
            Some(Pattern::Exact(serial)) => serial.parse::<SerialNumber>().ok(),
            _ => None,
        });
        let first = serials.next()??;
        serials.all(|serial| serial == Some(first)).then_some(first)
    }
}

/// The message of an event in lower case, made when the first filter asks.
#[derive(Debug)]
pub(super) struct Lowered<'a> {
    message: &'a str,
    lowered: OnceCell<String>,
}

impl<'a> Lowered<'a> {
    pub(super) fn new(event: &'a DebugEvent) -> Self {
        Self { message: &event.message, lowered: OnceCell::new() }
    }

    fn contains(&self, text: &str) -> bool {
        self.lowered.get_or_init(|| self.message.to_lowercase()).contains(text)
    }
}

/// One filter. A property that an event does not have matches no pattern, so "*" means that there is one.
#[derive(Debug)]
pub(super) struct Criterion {
    filter: Filter,
    operation: Operation,
}

/// The operation id that a filter names.
#[derive(Debug)]
enum Operation {
    Any,
    Is([u8; 16]),
    /// Text that is no operation id.
    None,
}

impl Criterion {
    pub(super) fn new(filter: Filter) -> Self {
        let operation = match filter.operation.as_deref() {
            None => Operation::Any,
            Some(text) if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                u128::from_str_radix(text, 16).map_or(Operation::None, |id| Operation::Is(id.to_be_bytes()))
            }
            Some(_) => Operation::None,
        };
        Self { filter, operation }
    }

    /// Whether the event has all of the properties.
    pub(super) fn matches(&self, event: &DebugEvent, message: &Lowered<'_>) -> bool {
        let Filter { serial, vdom, realm, component, level_mask, operation: _, text } = &self.filter;
        level_mask.is_none_or(|mask| mask & event.level as u8 != 0)
            && has(serial.as_ref(), event.serial.as_ref().map(SerialNumber::as_str))
            && has(vdom.as_ref(), event.vdom.as_ref().map(VdomName::as_str))
            && has(realm.as_ref(), event.realm.as_deref())
            && component.as_ref().is_none_or(|component| *component == event.component)
            && match self.operation {
                Operation::Any => true,
                Operation::Is(id) => id == event.operation.to_bytes(),
                Operation::None => false,
            }
            && text.as_ref().is_none_or(|text| message.contains(text))
    }
}

fn has(pattern: Option<&Pattern>, value: Option<&str>) -> bool {
    pattern.is_none_or(|pattern| value.is_some_and(|value| pattern.matches(value)))
}
