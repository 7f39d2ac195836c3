//! `AdmissionRuleService`: what becomes of devices that are not known, for global admins.

use std::fmt;
use std::sync::Arc;

use muster_proto::v1::admission_rule_service_server::AdmissionRuleService;
use muster_proto::{Check, Invalid, RealmRef, Reason, SerialNumber, v1};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::wire::{self, options};
use crate::identity::relay::SerialPrefix;
use crate::registry::{Action, Admission, AdmissionRule, AdmissionTest, After, Decision, RealmId};
use crate::store::Reading;
use crate::writer::Writer;

const GET: Method = method("AdmissionRuleService/GetAdmissionRules");
const UPDATE: Method = method("AdmissionRuleService/UpdateAdmissionRules");
/// How many rules, and how many tests, there may be.
const MOST: usize = 1_000;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct AdmissionRules {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

/// Text that may be left out.
fn optional<T: std::str::FromStr<Err: fmt::Display>>(check: &mut Check, field: &str, text: &str) -> Option<T> {
    if text.is_empty() { None } else { check.take(field, Reason::FieldInvalid, text.parse()) }
}

fn decision(check: &mut Check, field: &str, wire: Option<&v1::AdmissionDecision>) -> Decision {
    use v1::admission_decision::Kind;
    match wire.and_then(|wire| wire.kind.as_ref()) {
        Some(Kind::Realm(realm)) => {
            if let Ok(RealmRef::Id(id)) = realm.parse() {
                return Decision::Admit(Some(RealmId(id)));
            }
            check.refuse(format!("{field}.realm"), Reason::NameMalformed, "must be \"realms/ID\", as in realms/1");
        }
        Some(Kind::Reject(true)) => return Decision::Reject,
        Some(Kind::Lobby(true)) => return Decision::Lobby,
        Some(Kind::NoRule(true)) if field.starts_with("admission_rules.tests") => return Decision::Admit(None),
        _ => check.refuse(field, Reason::FieldInvalid, "must say what becomes of the device"),
    }
    Decision::Lobby
}

fn parse(wire: &v1::AdmissionRules) -> Result<Admission, Invalid> {
    let mut check = Check::default();
    for (field, count) in [("rules", wire.rules.len()), ("tests", wire.tests.len())] {
        if count > MOST {
            check.refuse(
                format!("admission_rules.{field}"),
                Reason::FieldInvalid,
                format_args!("must be at most {MOST}"),
            );
            return Err(check.invalid());
        }
    }
    let (mut rules, mut tests) = (Vec::new(), Vec::new());
    for (index, rule) in wire.rules.iter().enumerate() {
        let field = format!("admission_rules.rules[{index}]");
        let prefix: Option<SerialPrefix> = optional(&mut check, &format!("{field}.serial_prefix"), &rule.serial_prefix);
        let range = optional(&mut check, &format!("{field}.address_range"), &rule.address_range);
        let decision = decision(&mut check, &format!("{field}.decision"), rule.decision.as_ref());
        let serial_prefix = prefix.map(|prefix| prefix.as_str().into()).unwrap_or_default();
        rules.push(AdmissionRule { serial_prefix, range, decision });
    }
    for (index, test) in wire.tests.iter().enumerate() {
        let field = format!("admission_rules.tests[{index}]");
        let serial = test.serial_number.parse::<SerialNumber>();
        let serial = check.take(&format!("{field}.serial_number"), Reason::SerialNumberMalformed, serial);
        let address = optional(&mut check, &format!("{field}.address"), &test.address);
        let expected = decision(&mut check, &format!("{field}.expected"), test.expected.as_ref());
        tests.extend(serial.map(|serial| AdmissionTest { serial, address, expected }));
    }
    if check.is_clean() { Ok(Admission { rules, tests, updated_at: None }) } else { Err(check.invalid()) }
}

fn shown_decision(decision: Decision) -> v1::AdmissionDecision {
    use v1::admission_decision::Kind;
    let kind = match decision {
        Decision::Admit(Some(realm)) => Kind::Realm(format!("realms/{}", realm.0)),
        Decision::Admit(None) => Kind::NoRule(true),
        Decision::Lobby => Kind::Lobby(true),
        Decision::Reject => Kind::Reject(true),
    };
    v1::AdmissionDecision { kind: Some(kind) }
}

fn shown(admission: &Admission) -> v1::AdmissionRules {
    let text = |value: Option<String>| value.unwrap_or_default();
    v1::AdmissionRules {
        rules: admission
            .rules
            .iter()
            .map(|rule| v1::AdmissionRule {
                serial_prefix: rule.serial_prefix.to_string(),
                address_range: text(rule.range.map(|range| range.to_string())),
                decision: Some(shown_decision(rule.decision)),
            })
            .collect(),
        tests: admission
            .tests
            .iter()
            .map(|test| v1::AdmissionTest {
                serial_number: test.serial.to_string(),
                address: text(test.address.map(|address| address.to_string())),
                expected: Some(shown_decision(test.expected)),
            })
            .collect(),
        etag: admission.etag(),
        update_time: admission.updated_at.map(Into::into),
    }
}

#[tonic::async_trait]
impl AdmissionRuleService for AdmissionRules {
    async fn get_admission_rules(
        &self,
        request: Request<v1::GetAdmissionRulesRequest>,
    ) -> Result<Response<v1::GetAdmissionRulesResponse>, Status> {
        let work = async |_: &mut Call, _| {
            let admission = self.store.admission().await?;
            Ok(v1::GetAdmissionRulesResponse { admission_rules: Some(shown(&admission)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn update_admission_rules(
        &self,
        request: Request<v1::UpdateAdmissionRulesRequest>,
    ) -> Result<Response<v1::UpdateAdmissionRulesResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UpdateAdmissionRulesRequest| {
            let Some(wire) = &message.admission_rules else {
                let missing = "is required: an empty one takes all rules away";
                return Err(Invalid::field("admission_rules", Reason::FieldInvalid, missing).into());
            };
            let new = parse(wire)?;
            let etag = (!wire.etag.is_empty()).then(|| wire.etag.clone());
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, Action::UpdateAdmission { new, etag }, options).await?;
            let (mut admission_rules, mut warnings) = (None, Vec::new());
            if let After::Admission(admission) = &answer.after {
                admission_rules = Some(shown(admission));
                let odd = |(index, first)| {
                    format!("rules[{index}] is never reached: rules[{first}] takes all of its devices")
                };
                warnings.extend(admission.unreachable().into_iter().map(odd));
            }
            Ok(v1::UpdateAdmissionRulesResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                admission_rules,
                warnings,
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&UPDATE, request, work).await
    }
}
