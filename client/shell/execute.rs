//! `execute` and `diagnose`: what they do in the session, and what they want done outside.

use muster_proto::{VdomName, printable};

use crate::conf::users::Kind;
use crate::device::Device;
use crate::server_url::ServerUrl;
use crate::shell::answers::Refused;
use crate::shell::effect::{Effect, Moment, Step, Update, Users};
use crate::shell::guide::ParseError;
use crate::shell::session::{Question, Session};

const NO_TRIAL: &str =
    "this service has no trials and no licence wall: users are counted against the quota of their realm alone";

impl Session {
    pub(super) fn execute(&mut self, read: &[&str], device: &mut Device, moment: &Moment) -> Result<Step, Refused> {
        match read {
            ["execute", "backup", "config", file] => {
                Ok(Effect::Backup((*file).to_owned(), device.conf.to_string()).into())
            }
            ["execute", "restore", "config", file] => {
                self.asking = Some(Question::Restore((*file).to_owned()));
                let warning =
                    "This operation will overwrite the current setting and could possibly reboot the system!\n";
                Ok(warning.to_owned().into())
            }
            ["execute", "date"] => Ok(format!("current date is: {}\n", moment.now.date()).into()),
            ["execute", "time"] => {
                let (hour, minute, second) = moment.now.to_hms();
                Ok(format!("current time is: {hour:02}:{minute:02}:{second:02}\n").into())
            }
            ["execute" | "diagnose", "fortitoken-cloud", rest @ ..] => self.cloud(rest, device, moment),
            ["diagnose", "debug", rest @ ..] => self.debug(rest, moment).map(Step::from),
            _ => Err(ParseError::Incomplete.into()),
        }
    }

    fn cloud(&mut self, read: &[&str], device: &mut Device, moment: &Moment) -> Result<Step, Refused> {
        let calls = matches!(read, ["update" | "sync" | "delete" | "new" | "migrate-ftm", ..]);
        if calls && !device.conf.uses_cloud() {
            return Err(Refused::CloudOff);
        }
        Ok(match read {
            ["update"] => Effect::Update(Update::Now).into(),
            ["update", "dry-run"] => Effect::Update(Update::DryRun).into(),
            ["update", "confirm"] => Effect::Update(Update::Confirm).into(),
            ["sync", rest @ ..] => sync(rest).into(),
            ["show"] | ["show", "service" | "realm"] => Effect::ShowService.into(),
            ["show", "server"] => Effect::ShowServer.into(),
            ["show", "users"] => Effect::ShowUsers(None).into(),
            ["show", "user", user, vdom] => Effect::ShowUsers(Some(((*user).to_owned(), vdom_of(vdom)?))).into(),
            ["delete", user, vdom] => Effect::DeleteUser((*user).to_owned(), vdom_of(vdom)?).into(),
            ["new", user, kind, vdom] => Effect::NewCode((*user).to_owned(), kind_of(kind)?, vdom_of(vdom)?).into(),
            ["trial"] => return Err(Refused::NotOffered(NO_TRIAL)),
            ["migrate-ftm", rest @ ..] => return self.migrate(rest, device),
            ["region-info"] => format!("Region: none; the service is {}\n", device.reports_to().authority()).into(),
            ["region-reset" | "clear"] => {
                device.other_server = None;
                Step::default()
            }
            ["server"] => {
                let set = if device.other_server.is_some() { "set by diagnose" } else { "as the box was made" };
                format!("Server: {} ({set})\n", device.reports_to().authority()).into()
            }
            ["server", host, port] => {
                let url: Result<ServerUrl, _> = format!("https://{host}:{port}").parse();
                device.other_server = Some(url.map_err(|_| Refused::Value(printable(host)))?);
                Step::default()
            }
            ["set-http", status] => {
                let known = |status: &u16| *status == 0 || (100..600).contains(status);
                let status = status.parse().ok().filter(known).ok_or_else(|| Refused::Value(printable(status)))?;
                self.forced_http = status;
                Step::default()
            }
            ["debug", "info"] => {
                let state = if self.debug.has_cloud() { "enable" } else { "disable" };
                format!("FortiToken Cloud debug: {state}\n").into()
            }
            ["debug", switch] => {
                self.debug.cloud(*switch == "enable", moment.now);
                Step::default()
            }
            _ => return Err(ParseError::Incomplete.into()),
        })
    }

    fn debug(&mut self, read: &[&str], moment: &Moment) -> Result<String, Refused> {
        let now = moment.now;
        match read {
            ["enable"] => self.debug.print(true, now),
            ["disable"] => self.debug.print(false, now),
            ["reset"] => self.debug.reset(),
            ["info"] => return Ok(self.debug.info()),
            ["duration"] => return Ok(format!("{}\n", self.debug.current_duration())),
            ["duration", minutes] => {
                let answer = minutes.parse().ok().and_then(|minutes| self.debug.duration(minutes, now));
                return answer.map(|answer| format!("{answer}\n")).ok_or(Refused::Duration);
            }
            ["application", name] => {
                let level = self.debug.level(name);
                return Ok(format!("{} debug level is {level}\n", printable(name)));
            }
            ["application", name, level] => {
                let known = |level: &i32| (-1..=255).contains(level);
                let level = level.parse().ok().filter(known).ok_or_else(|| Refused::Value(printable(level)))?;
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                    return Err(ParseError::Word(printable(name)).into());
                }
                return Ok(self.debug.application(name, level, now));
            }
            ["console", "timestamp", switch] => self.debug.timestamps(*switch == "enable"),
            _ => return Err(ParseError::Incomplete.into()),
        }
        Ok(String::new())
    }
}

/// Which users, and how it is meant.
fn sync(read: &[&str]) -> Effect {
    let which = match read.first() {
        Some(&"local") => Users::Local,
        Some(&"remote") => Users::Remote,
        _ => Users::All,
    };
    let how = match read.get(1) {
        Some(&"dry-run") => Update::DryRun,
        Some(&"confirm") => Update::Confirm,
        _ => Update::Now,
    };
    Effect::SyncUsers(which, how)
}

fn kind_of(word: &str) -> Result<Kind, Refused> {
    match word {
        "admin" => Ok(Kind::Admin),
        "local" => Ok(Kind::Local),
        "remote" => Ok(Kind::Remote),
        _ => Err(Refused::Value(printable(word))),
    }
}

fn vdom_of(name: &str) -> Result<VdomName, Refused> {
    name.parse().map_err(|_| Refused::Datasource(printable(name)))
}
