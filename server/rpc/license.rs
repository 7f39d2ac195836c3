//! `LicenseService`: licences, for admins.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use muster_proto::admin::{LICENSES, Position, Query};
use muster_proto::license::{LicenseRow, MAX_ROWS, license_name};
use muster_proto::v1::license_service_server::LicenseService;
use muster_proto::{Invalid, Reason, v1};
use tonic::{Request, Response, Status, Streaming};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{self, options};
use crate::registry::{Action, After, LicenseItem};
use crate::store::{LicenseHeld, Reading};
use crate::writer::Writer;

const IMPORT: Method = method("LicenseService/ImportLicenses");
const LIST: Method = method("LicenseService/ListLicenses");
const GET: Method = method("LicenseService/GetLicense");
const RELEASE: Method = method("LicenseService/ReleaseLicense");
const DELETE: Method = method("LicenseService/DeleteLicense");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Licenses {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

/// Where the page behind `row` starts.
fn position(query: &Query, row: &LicenseHeld) -> Position {
    let key = query.order.key.map(|_| row.license.number.to_string()).unwrap_or_default();
    Position { id: row.license.id, key }
}

fn license(row: &LicenseHeld) -> v1::License {
    let found = &row.license;
    v1::License {
        name: format!("licenses/{}", found.number),
        number: found.number.to_string(),
        model: found.model.to_string(),
        realm: row.realm.clone(),
        serial_number: found.bound.map(|(serial, _)| serial.to_string()).unwrap_or_default(),
        bind_time: found.bound.map(|(_, since)| since.into()),
        state: wire::state(found.deleted_at.is_some()),
        create_time: Some(found.created_at.into()),
        update_time: Some(found.updated_at.into()),
        delete_time: found.deleted_at.map(Into::into),
    }
}

fn item(item: &LicenseItem) -> v1::LicenseOutcome {
    v1::LicenseOutcome {
        line: item.line,
        number: item.number.clone(),
        outcome: item.outcome.into(),
        reason: item.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        fix: item.reason.map(|reason| reason.fix().to_owned()).unwrap_or_default(),
        detail: item.detail.clone(),
    }
}

/// Imports one message.
async fn import(
    call: &mut Call,
    writer: &Writer,
    message: v1::ImportLicensesRequest,
) -> Result<v1::ImportLicensesResponse, Failure> {
    if message.rows.len() > MAX_ROWS {
        let description = format!("must have at most {MAX_ROWS} rows, and has {}", message.rows.len());
        return Err(Invalid::field("rows", Reason::FieldInvalid, description).into());
    }
    let options = options(message.validate_only, &message.plan_id);
    let rows = message.rows.iter().map(LicenseRow::from).collect();
    let answer = call.submit(writer, Action::ImportLicenses(rows), options).await?;
    let licenses = match &answer.after {
        After::Imported(items) => items.iter().map(item).collect(),
        _ => Vec::new(),
    };
    let operation_id = call.operation().id.to_string();
    Ok(v1::ImportLicensesResponse { operation_id, licenses, plan_id: wire::plan(&answer) })
}

/// An import on its way: what is still to be read, and the operation that the next message belongs to.
struct Importing {
    requests: Streaming<v1::ImportLicensesRequest>,
    call: Call,
    writer: Writer,
}

impl Importing {
    /// The answer to the next message; `None` at the end of the stream.
    async fn next(mut self) -> Option<(Result<v1::ImportLicensesResponse, Status>, Option<Self>)> {
        let message = match self.requests.message().await {
            Ok(Some(message)) => message,
            Ok(None) => {
                let ended = self.call.trace.end(Ok(()));
                return ended.err().map(|status| (Err(status), None));
            }
            Err(status) => {
                let failure = Failure::new(Reason::MessageMalformed, "the stream broke");
                self.call.trace.fail(&failure);
                return Some((Err(status), None));
            }
        };
        let result = import(&mut self.call, &self.writer, message).await;
        let going_on = result.is_ok();
        let next = self.call.trace.next();
        let mut done = std::mem::replace(&mut self.call.trace, next);
        let answer = done.end(result);
        if !going_on {
            // The stream ends with the status of its last message.
            self.call.trace.dismiss();
            return Some((answer, None));
        }
        Some((answer, Some(self)))
    }
}

#[tonic::async_trait]
impl LicenseService for Licenses {
    type ImportLicensesStream = Pin<Box<dyn Stream<Item = Result<v1::ImportLicensesResponse, Status>> + Send>>;

    async fn import_licenses(
        &self,
        request: Request<Streaming<v1::ImportLicensesRequest>>,
    ) -> Result<Response<Self::ImportLicensesStream>, Status> {
        let call = self.gate.open(&IMPORT, &request).await?;
        let importing = Importing { requests: request.into_inner(), call, writer: self.writer.clone() };
        let answers = stream::unfold(Some(importing), async |importing| importing?.next().await);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn list_licenses(
        &self,
        request: Request<v1::ListLicensesRequest>,
    ) -> Result<Response<v1::ListLicensesResponse>, Status> {
        let work = async |_: &mut Call, message: v1::ListLicensesRequest| {
            let v1::ListLicensesRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = Query::parse(LICENSES, *page_size, page_token, filter, order_by, *show_deleted)?;
            let (mut rows, total_size) = self.store.list_licenses(&query).await?;
            let next_page_token = super::next_page(&query, &mut rows, position);
            let licenses = rows.iter().map(license).collect();
            Ok(v1::ListLicensesResponse { licenses, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_license(
        &self,
        request: Request<v1::GetLicenseRequest>,
    ) -> Result<Response<v1::GetLicenseResponse>, Status> {
        let work = async |_: &mut Call, message: v1::GetLicenseRequest| {
            let number = license_name(&message.name)?;
            let found = self.store.license(&number).await?;
            let unknown = || Failure::new(Reason::LicenseUnknown, format!("there is no licence {number}"));
            Ok(v1::GetLicenseResponse { license: Some(license(&found.ok_or_else(unknown)?)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn release_license(
        &self,
        request: Request<v1::ReleaseLicenseRequest>,
    ) -> Result<Response<v1::ReleaseLicenseResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ReleaseLicenseRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::ReleaseLicense(license_name(&message.name)?);
            let answer = call.submit(&self.writer, action, options).await?;
            let operation_id = call.operation().id.to_string();
            let outcome = answer.outcome.into();
            Ok(v1::ReleaseLicenseResponse { operation_id, outcome, plan_id: wire::plan(&answer) })
        };
        self.gate.unary(&RELEASE, request, work).await
    }

    async fn delete_license(
        &self,
        request: Request<v1::DeleteLicenseRequest>,
    ) -> Result<Response<v1::DeleteLicenseResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DeleteLicenseRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::DeleteLicense(license_name(&message.name)?);
            let answer = call.submit(&self.writer, action, options).await?;
            let operation_id = call.operation().id.to_string();
            let outcome = answer.outcome.into();
            Ok(v1::DeleteLicenseResponse { operation_id, outcome, plan_id: wire::plan(&answer) })
        };
        self.gate.unary(&DELETE, request, work).await
    }
}
