//! Licences: imported by admins, bound to the first serial number that presents them.

use muster_proto::device::{DeviceInfo, Registration};
use muster_proto::license::{LicenseNumber, LicenseRow, NewLicense};
use muster_proto::{Reason, SerialNumber, Text, Timestamp};

use super::admin_token::realm_for;
use super::auth_client::later;
use super::contact::{first_contact, make_present};
use super::ha::Contact;
use super::lobby::came_in;
use super::{After, Answer, Change, Context, Name, Outcome, Planned, RealmId, Record, Refusal, State, Stop, Subject};

/// A number that admits one device to a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    /// Its id.
    pub id: i64,
    /// Its number.
    pub number: LicenseNumber,
    /// The model that it is for; empty for any.
    pub model: Text,
    /// The realm that its device goes to.
    pub realm: RealmId,
    /// The device that has it, and since when.
    pub bound: Option<(SerialNumber, Timestamp)>,
    /// When it was first imported.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; `None` while it is there.
    pub deleted_at: Option<Timestamp>,
}

impl License {
    fn record(&self, changes: Vec<Change>) -> Record {
        let name = Name::Resource(format!("licenses/{}", self.number).into());
        Record { about: self.id, name, generation: 0, changes }
    }
}

/// What became of one row of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseItem {
    /// The line of the row.
    pub line: i64,
    /// The number, as it was sent.
    pub number: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<Reason>,
    /// What is wrong with the row; empty if nothing is.
    pub detail: String,
}

/// Imports some rows; each that is refused leaves the others as they are.
pub(super) fn import(state: &mut State, rows: &[LicenseRow], context: &mut Context<'_>) -> Result<Planned, Stop> {
    let (mut items, mut records) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let result = match &row.parsed {
            Err((reason, detail)) => Err((*reason, detail.clone())),
            Ok(license) => match take(state, license, context) {
                Ok((outcome, record)) => {
                    records.extend(record);
                    Ok(outcome)
                }
                Err(Stop::Refused(refusal)) => Err((refusal.reason, refusal.message)),
                Err(missing @ Stop::Missing(_)) => return Err(missing),
            },
        };
        let (outcome, reason, detail) = match result {
            Ok(outcome) => (outcome, None, String::new()),
            Err((reason, detail)) => (Outcome::Refused, Some(reason), detail),
        };
        items.push(LicenseItem { line: row.line, number: row.shown.clone(), outcome, reason, detail });
    }
    let outcome = if records.is_empty() { Outcome::Unchanged } else { Outcome::Updated };
    let answer = Answer { after: After::Imported(items), ..Answer::new(outcome) };
    Ok(Planned { records, ..Planned::unchanged(answer) })
}

fn take(state: &mut State, new: &NewLicense, context: &mut Context<'_>) -> Result<(Outcome, Option<Record>), Stop> {
    let realm = realm_for(state, &new.realm, context)?;
    let (realm, named) = (realm.id, realm.name.clone());
    let Some(found) = state.license(&new.number)?.cloned() else {
        let license = License {
            id: context.id(),
            number: new.number.clone(),
            model: new.model.clone(),
            realm,
            bound: None,
            created_at: context.now,
            updated_at: context.now,
            deleted_at: None,
        };
        let mut changes =
            vec![Change::state(Subject::Itself, "", "active"), Change::value("realm", "", named.as_str())];
        if !new.model.is_empty() {
            changes.push(Change::value("model", "", &new.model));
        }
        let record = license.record(changes);
        state.licenses.put(new.number.clone(), license);
        return Ok((Outcome::Created, Some(record)));
    };
    let mut changes = Vec::new();
    if found.deleted_at.is_some() {
        changes.push(Change::state(Subject::Itself, "deleted", "active"));
    }
    if found.realm != realm {
        let before = state.realm(found.realm)?.map(|realm| realm.name.to_string()).unwrap_or_default();
        changes.push(Change::value("realm", before, named.as_str()));
    }
    if found.model != new.model {
        changes.push(Change::value("model", &found.model, &new.model));
    }
    if changes.is_empty() {
        return Ok((Outcome::Unchanged, None));
    }
    if let Some(license) = state.licenses.change(&new.number) {
        (license.realm, license.model, license.deleted_at) = (realm, new.model.clone(), None);
        license.updated_at = later(license.updated_at, context.now);
    }
    let outcome = if found.deleted_at.is_some() { Outcome::Restored } else { Outcome::Updated };
    Ok((outcome, Some(found.record(changes))))
}

fn known<'s>(state: &'s State, number: &LicenseNumber) -> Result<&'s License, Stop> {
    let unknown = || Refusal::new(Reason::LicenseUnknown, format!("there is no licence {number}"));
    Ok(state.license(number)?.ok_or_else(unknown)?)
}

/// Whether a device may have a licence: the licence, if so.
fn may_have<'s>(
    state: &'s State,
    serial: SerialNumber,
    number: &LicenseNumber,
    info: &DeviceInfo,
) -> Result<&'s License, Stop> {
    let license = known(state, number)?;
    if license.deleted_at.is_some() {
        return Err(Refusal::new(Reason::LicenseUnknown, format!("there is no licence {number}")).into());
    }
    if let Some((_, since)) = license.bound.filter(|(bound, _)| *bound != serial) {
        // Who has it is for admins to see.
        let message = format!("another device has the licence {number} since {since}");
        return Err(Refusal::new(Reason::LicenseInUse, message).with("since", since).into());
    }
    let held = state.device(serial)?.map(|device| device.info.model.as_str()).unwrap_or_default();
    let model = if info.model.is_empty() { held } else { info.model.as_str() };
    if !license.model.is_empty() && license.model.as_str() != model {
        let message = format!("the licence {number} is for {}, and {serial} says it is {model:?}", license.model);
        return Err(Refusal::new(Reason::LicenseModelMismatch, message).into());
    }
    Ok(license)
}

/// A device that presents a licence is admitted by it, whatever the settings say of unknown devices.
pub(super) fn present(
    state: &mut State,
    registration: &Registration,
    context: &mut Context<'_>,
) -> Result<Option<Contact>, Stop> {
    let Some(number) = &registration.license else { return Ok(None) };
    let serial = registration.serial;
    let license = may_have(state, serial, number, &registration.info)?.clone();
    let mut contact = Contact::default();
    if state.device(serial)?.is_some() {
        contact.outcome = make_present(state, serial, &mut contact.changes, context)?;
    } else {
        let device = first_contact(serial, Some(license.realm), context);
        // What was just made has no auth clients, and nothing held, that would have to be loaded.
        state.whole.owners.insert(device.owner());
        state.whole.held.insert(device.owner());
        state.devices.put(serial, device);
        contact.outcome = Outcome::Created;
        contact.changes.push(Change::state(Subject::Itself, "", "active"));
        contact.records.extend(came_in(state, serial, None, context)?);
    }
    if license.bound.is_none() {
        if let Some(license) = state.licenses.change(number) {
            license.bound = Some((serial, context.now));
            license.updated_at = later(license.updated_at, context.now);
        }
        if let Some(device) = state.devices.change(&serial) {
            device.realm = Some(license.realm);
        }
        contact.changes.push(Change::value("license", "", number));
        contact.records.push(license.record(vec![Change::value("serial_number", "", serial)]));
    }
    Ok(Some(contact))
}

/// An admin frees a licence for another device.
pub(super) fn release(state: &mut State, number: &LicenseNumber, context: &Context<'_>) -> Result<Planned, Stop> {
    let license = known(state, number)?.clone();
    let Some((serial, _)) = license.bound else { return Ok(Planned::unchanged(Answer::new(Outcome::Unchanged))) };
    if let Some(license) = state.licenses.change(number) {
        license.bound = None;
        license.updated_at = later(license.updated_at, context.now);
    }
    let records = vec![license.record(vec![Change::value("serial_number", serial, "")])];
    Ok(Planned { records, ..Planned::unchanged(Answer::new(Outcome::Updated)) })
}

/// An admin deletes a licence that no device has.
pub(super) fn delete(state: &mut State, number: &LicenseNumber, context: &Context<'_>) -> Result<Planned, Stop> {
    let license = known(state, number)?.clone();
    if license.deleted_at.is_some() {
        let answer = Answer { reason: Some(Reason::AlreadyDeleted), ..Answer::new(Outcome::Unchanged) };
        return Ok(Planned::unchanged(answer));
    }
    if let Some((serial, _)) = license.bound {
        return Err(Refusal::new(Reason::LicenseInUse, format!("{serial} has the licence {number}")).into());
    }
    if let Some(license) = state.licenses.change(number) {
        license.deleted_at = Some(context.now);
        license.updated_at = later(license.updated_at, context.now);
    }
    let records = vec![license.record(vec![Change::state(Subject::Itself, "active", "deleted")])];
    Ok(Planned { records, ..Planned::unchanged(Answer::new(Outcome::Removed)) })
}

/// The licences of a box that is replaced go to the one that takes its place.
pub(super) fn pass_on(
    state: &mut State,
    old: SerialNumber,
    new: SerialNumber,
    context: &Context<'_>,
) -> Result<Vec<Record>, Stop> {
    let licenses: Vec<License> = state.licenses_of(old)?.cloned().collect();
    let mut records = Vec::with_capacity(licenses.len());
    for license in licenses {
        if let Some(license) = state.licenses.change(&license.number) {
            license.bound = Some((new, context.now));
            license.updated_at = later(license.updated_at, context.now);
        }
        records.push(license.record(vec![Change::value("serial_number", old, new)]));
    }
    Ok(records)
}
