//! What a session wants done outside: calls to the service, files, and what is shown of them.

use std::fs;

use muster_proto::{VdomName, printable};
use rand::rngs::StdRng;

use crate::cli::Exit;
use crate::cloud::Cloud;
use crate::conf::users::{CloudUser, Kind};
use crate::device::Device;
use crate::device_dir::DeviceDir;
use crate::render;
use crate::shell::answers::Refused;
use crate::shell::effect::{Effect, Users};
use crate::shell::roster::{self, Roster};
use crate::shell::screen::Screen;
use crate::shell::session::Session;

/// Knows how to reach the service as a box; asked anew for each call, because a command may have changed where it is.
pub type Reach<'a> = &'a (dyn Fn(&Device) -> anyhow::Result<Cloud> + Sync);

/// Does what a session wants done outside. What it shows goes to the screen, or is held for a filter.
pub async fn perform(
    effect: &Effect,
    dir: &DeviceDir,
    reach: Reach<'_>,
    session: &Session,
    (plan, rng): (&mut Option<String>, &mut StdRng),
    screen: &Screen,
    held: Option<&mut Vec<u8>>,
) -> anyhow::Result<Exit> {
    let device = dir.load()?;
    let mut cloud = reach(&device)?;
    cloud.forced_http = session.forced_http;
    let mut shown = screen.clone();
    match held {
        Some(held) => {
            let exit = talk(effect, dir, &cloud, &device, plan, rng, (held, &mut shown)).await?;
            Ok(exit)
        }
        None => talk(effect, dir, &cloud, &device, plan, rng, (&mut screen.clone(), &mut shown)).await,
    }
}

/// Carries out an effect: what FortiOS prints goes to the first writer, the explanations to the second.
pub async fn talk(
    effect: &Effect,
    dir: &DeviceDir,
    cloud: &Cloud,
    device: &Device,
    plan: &mut Option<String>,
    rng: &mut impl rand::Rng,
    (out, err): (&mut impl std::io::Write, &mut impl std::io::Write),
) -> anyhow::Result<Exit> {
    Ok(match effect {
        Effect::Update(how) => cloud.update(device, *how, plan, rng, (out, err)).await?,
        Effect::ShowService => cloud.show_service(device, rng, (out, err)).await?,
        Effect::ShowServer => cloud.show_server((out, err)).await?,
        Effect::Backup(path, text) => match fs::write(path, text) {
            Ok(()) => Exit::Done,
            Err(error) => {
                writeln!(out, "{}", render::COMMAND_FAIL)?;
                writeln!(err, "fix: could not write {}: {error}", printable(path))?;
                Exit::Failed
            }
        },
        Effect::Users(changes) => cloud.users(device, changes, rng, (out, err)).await?,
        Effect::SyncUsers(which, how) => {
            let roster = Roster::new(dir, device);
            let exit = cloud.sync_users(device, &roster, (*which, *how), rng, (out, err)).await?;
            if *which == Users::Local || exit == Exit::Unreachable || roster.unread.is_empty() {
                return Ok(exit);
            }
            // What a directory would say is not known: nobody of it was removed.
            render::lines(
                out,
                roster.unread().map(|line| format!("{line}; nobody of a directory of this VDOM was sent or removed")),
            )?;
            exit.max(Exit::Failed)
        }
        Effect::NewCode(user, kind, vdom) => {
            let roster = Roster::new(dir, device);
            // Administrators are users of a pseudo-VDOM, whichever VDOM they manage.
            let vdom = if *kind == Kind::Admin { VdomName::ADMINISTRATORS } else { *vdom };
            let is_it = |one: &&CloudUser| one.key() == (vdom, user.as_str()) && one.kind == *kind;
            let Some(user) = roster.users.iter().find(is_it) else {
                writeln!(out, "{}", Refused::NoEntry)?;
                writeln!(err, "fix: give the user \"set two-factor fortitoken-cloud\" first")?;
                render::lines(out, roster.unread())?;
                return Ok(Exit::Failed);
            };
            cloud.new_code(device, user, rng, (out, err)).await?
        }
        Effect::DeleteUser(user, vdom) => cloud.delete_user(device, (user, *vdom), rng, (out, err)).await?,
        Effect::ShowUsers(one) => {
            let roster = Roster::new(dir, device);
            let is_it =
                |user: &&CloudUser| one.as_ref().is_none_or(|(name, vdom)| user.key() == (*vdom, name.as_str()));
            let shown: Vec<_> = roster.users.iter().filter(is_it).map(roster::line).collect();
            render::lines(out, &shown)?;
            let missing = one.is_some() && shown.is_empty();
            if missing {
                writeln!(out, "{}", Refused::NoEntry)?;
            }
            let unread = one.is_none() || missing;
            render::lines(out, roster.unread().filter(|_| unread))?;
            if missing || (unread && !roster.unread.is_empty()) { Exit::Failed } else { Exit::Done }
        }
        Effect::Restore(_) | Effect::Close => Exit::Done,
    })
}
