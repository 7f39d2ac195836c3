//! The commands of `fortigate`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use muster_proto::device::DeviceInfo;
use muster_proto::{SerialNumber, Text, VdomName, printable};
use rand::{Rng, RngExt as _};
use time::OffsetDateTime;
use tokio::io::BufReader;

use crate::args::{self, Arguments, Command, DEFAULT_DEVICE, Init, Script, Vdom};
use crate::certificate::{self, FactoryCa};
use crate::cloud::Cloud;
use crate::conf::words;
use crate::conformance;
use crate::connect::Dialer;
use crate::daemon::{self, Daemon};
use crate::device::Device;
use crate::device_dir::{DeviceDir, DirError};
use crate::feed::{self, FeedError, Lines, View};
use crate::fleet::{self, Way};
use crate::model::{self, Model};
use crate::render;
use crate::server_url::{DEFAULT_SERVER, ServerUrl};
use crate::shell::answers::Refused;
use crate::shell::console::Console;
use crate::shell::debug::Debug;
use crate::shell::editor::Editor;
use crate::shell::effect::{Effect, Moment};
use crate::shell::filter;
use crate::shell::guide::Guide;
use crate::shell::perform;
use crate::shell::screen::Screen;
use crate::shell::session::Session;
use crate::shell::source::Source;

/// How a command ended; see `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed, or some item of it was refused.
    Failed = 1,
    /// The server was not reached, or is not available.
    Unreachable = 2,
    /// The server does not accept the box, or what it asked for.
    NotAuthorised = 3,
    /// The command cannot be understood (`EX_USAGE`).
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// Runs one command. A reader that has seen enough (`| head`) is no failure.
pub async fn run(
    arguments: Arguments,
    now: OffsetDateTime,
    rng: &mut impl Rng,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Exit {
    let result = dispatch(arguments, now, rng, out, err).await;
    let flushed = out.flush();
    let result = result.and_then(|exit| flushed.map(|()| exit).map_err(Into::into));
    result.unwrap_or_else(|error| {
        let broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(broken_pipe) {
            return Exit::Done;
        }
        // If standard error is gone too, the exit status still tells.
        let _ = writeln!(err, "error: {}", printable(&format!("{error:#}")));
        Exit::Failed
    })
}

async fn dispatch(
    arguments: Arguments,
    now: OffsetDateTime,
    rng: &mut impl Rng,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<Exit> {
    let dir = DeviceDir::new(&arguments.device);
    match &arguments.command {
        Command::Init(init) => make(&arguments, init, &dir, now, rng, out)?,
        Command::Show => show(&dir.load()?, out)?,
        Command::Vdom(Vdom::Add { names }) => {
            dir.edit(|device| names.iter().try_for_each(|name| device.add_vdom(*name).map_err(DirError::from)))?;
        }
        Command::Vdom(Vdom::Delete { names }) => {
            dir.edit(|device| names.iter().try_for_each(|name| device.delete_vdom(*name).map_err(DirError::from)))?;
        }
        Command::Vdom(Vdom::List) => {
            for name in dir.load()?.vdoms() {
                writeln!(out, "{name}")?;
            }
        }
        Command::Exec { words } => return exec(&arguments, &words.join(" "), &dir, now, rng, (out, err)).await,
        Command::Console => return console(&arguments, &Script::default(), &dir, rng).await,
        Command::Channel => return channel(&arguments, &dir, now, rng).await,
        Command::Run(script) => return console(&arguments, script, &dir, rng).await,
        Command::Fleet(fleet) => {
            let is_good = fleet::fleet(fleet, &way(&arguments)?, now, out).await?;
            return Ok(if is_good { Exit::Done } else { Exit::Failed });
        }
        Command::Conformance(checks) => {
            let is_good = conformance::conformance(checks, &way(&arguments)?, now, out).await?;
            return Ok(if is_good { Exit::Done } else { Exit::Failed });
        }
        Command::Debug(debug) => return watch(&arguments, debug, &dir, rng, out, err).await,
    }
    Ok(Exit::Done)
}

/// The way to a server that no box remembers.
fn way(arguments: &Arguments) -> anyhow::Result<Way> {
    let server = arguments.server.clone().map_or_else(|| DEFAULT_SERVER.parse(), Ok)?;
    Ok(Way { server, ca: arguments.ca.clone(), connect_timeout: arguments.connect_timeout })
}

fn make(
    arguments: &Arguments,
    init: &Init,
    dir: &DeviceDir,
    now: OffsetDateTime,
    rng: &mut impl Rng,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    dir.check_free()?;
    let (serial, model) = serial_and_model(init, now, rng)?;
    let hostname = init.hostname.clone().map_or_else(|| serial.as_str().parse(), Ok)?;
    let info = DeviceInfo { model, hostname, firmware: init.firmware.clone() };
    let server = arguments.server.clone().map_or_else(|| DEFAULT_SERVER.parse(), Ok)?;
    let mut device = Device::new(serial, info, server);
    // "root" is always in, and may be named.
    for name in init.vdoms.iter().filter(|name| **name != VdomName::ROOT) {
        device.add_vdom(*name)?;
    }

    let file = |given: &Option<_>, name| given.clone().unwrap_or_else(|| init.muster_data.join(name));
    let factory = FactoryCa {
        certificate: read(&file(&init.factory_ca, "device-ca.pem"))?,
        key: read(&file(&init.factory_key, "device-ca.key"))?,
    };
    let ca = read(&file(&arguments.ca, "ca.pem"))?;
    let identity = certificate::issue(&factory, &serial, now)?;
    dir.create(&device, &identity, &ca)?;

    writeln!(out, "Made {} in {}.", device.serial, dir.path().display())?;
    show(&device, out)?;
    writeln!(out, "Certificate: until {}", identity.not_after.date())?;
    let device = match dir.path() {
        path if path == Path::new(DEFAULT_DEVICE) => String::new(),
        path => format!(" --device {}", path.display()),
    };
    writeln!(out, "Try next: fortigate{device} exec \"execute fortitoken-cloud update\"")?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| {
        format!(
            "could not read {}: start muster-server once, and name its data directory with --muster-data, or name \
             --factory-ca, --factory-key and --ca",
            path.display()
        )
    })
}

fn serial_and_model(init: &Init, now: OffsetDateTime, rng: &mut impl Rng) -> anyhow::Result<(SerialNumber, Text)> {
    let named = init.model.as_ref().map(Text::as_str);
    let full_name = |model: Model| model.name.parse::<Text>();
    if let Some(serial) = init.serial {
        let model = match (&init.model, Model::of(&serial)) {
            (Some(text), _) => Model::named(text.as_str()).map_or_else(|| Ok(text.clone()), full_name)?,
            (None, Some(model)) => full_name(model)?,
            (None, None) if serial.product() == "Other" => Text::default(),
            (None, None) => serial.product().parse()?,
        };
        return Ok((serial, model));
    }
    let name = named.unwrap_or(model::DEFAULT_MODEL);
    let unknown = || format!("no model {name:?} is known: give a --serial too, or one of {}", model::names());
    let model = Model::named(name).with_context(unknown)?;
    let year = u8::try_from(now.year().rem_euclid(100))?;
    Ok((model.serial(year, rng)?, full_name(model)?))
}

fn show(device: &Device, out: &mut impl Write) -> io::Result<()> {
    let (info, vdoms) = (device.info(), device.vdoms());
    let [model, hostname, firmware] = info.texts();
    let vdoms: Vec<_> = vdoms.iter().map(VdomName::as_str).collect();
    writeln!(out, "Serial number: {}", device.serial)?;
    writeln!(out, "Model: {model}")?;
    writeln!(out, "Hostname: {hostname}")?;
    writeln!(out, "Firmware: {firmware}")?;
    writeln!(out, "VDOMs: {}", vdoms.join(", "))?;
    writeln!(out, "Server: {}", device.reports_to())
}

fn dialer(arguments: &Arguments, dir: &DeviceDir, server: ServerUrl) -> anyhow::Result<Dialer> {
    let tls = dir.credentials(arguments.ca.as_deref())?.client_config()?;
    Ok(Dialer { server, tls, connect_timeout: arguments.connect_timeout })
}

/// The service, as the box reaches it with these arguments.
fn reach(arguments: &Arguments, dir: &DeviceDir, device: &Device) -> anyhow::Result<Cloud> {
    let server = arguments.server.clone().unwrap_or_else(|| device.reports_to().clone());
    let dialer = dialer(arguments, dir, server)?;
    Ok(Cloud { dialer, timeout: arguments.timeout, forced_http: 0, dir: dir.clone() })
}

fn reacher(arguments: &Arguments, dir: &DeviceDir) -> daemon::Reach {
    let (arguments, dir) = (arguments.clone(), dir.clone());
    Arc::new(move |device: &Device| reach(&arguments, &dir, device))
}

/// Keeps the channel of the box, and tells what happens on it, until it is interrupted.
async fn channel(
    arguments: &Arguments,
    dir: &DeviceDir,
    now: OffsetDateTime,
    rng: &mut impl Rng,
) -> anyhow::Result<Exit> {
    dir.load()?;
    let mut debug = Debug::default();
    let _ = debug.duration(0, now);
    debug.cloud(true, now);
    debug.print(true, now);
    let (screen, switches) = (Screen::new(Box::new(io::stdout())), Arc::new(Mutex::new(debug)));
    let daemon = Daemon::start(dir.clone(), reacher(arguments, dir), screen, switches, rng);
    tokio::signal::ctrl_c().await?;
    daemon.end().await;
    Ok(Exit::Done)
}

/// Runs one command where the service may be talked to. A question is answered with yes: whoever asks for a single command means it.
async fn exec(
    arguments: &Arguments,
    line: &str,
    dir: &DeviceDir,
    now: OffsetDateTime,
    rng: &mut impl Rng,
    (out, err): (&mut impl Write, &mut impl Write),
) -> anyhow::Result<Exit> {
    let words = words::words(line).unwrap_or_default();
    if let Err(refused) = filter::cut(words).and_then(|(words, _)| Ok(Guide::anywhere().parse(&words)?)) {
        // What can never be understood is said even if there is no box.
        writeln!(out, "{refused}")?;
        return Ok(Exit::Usage);
    }
    let moment = Moment { now, salt: rng.random() };
    let mut session = None;
    let mut step = dir.edit(|device| {
        let session = session.insert(Session::global(device));
        let step = session.step(line, device, &moment);
        let asked = session.is_asking();
        Ok::<_, DirError>(if asked { session.step("y", device, &moment) } else { step })
    })?;
    if let Some(Effect::Restore(path)) = step.effects.first() {
        let text = fs::read_to_string(path).with_context(|| format!("could not read {path}"))?;
        step = dir.edit(|device| Ok::<_, DirError>(session.get_or_insert_default().restore(&text, device)))?;
    }
    let (device, mut shown) = (dir.load()?, Vec::new());
    let mut exit = match step.refused {
        Some(Refused::Parse(_)) => Exit::Usage,
        Some(_) => Exit::Failed,
        None => Exit::Done,
    };
    write!(shown, "{}", step.output)?;
    for effect in &step.effects {
        let cloud = reach(arguments, dir, &device)?;
        if step.filter.is_none() {
            out.write_all(&std::mem::take(&mut shown))?;
            exit = exit.max(perform::talk(effect, dir, &cloud, &device, &mut None, rng, (out, err)).await?);
        } else {
            exit = exit.max(perform::talk(effect, dir, &cloud, &device, &mut None, rng, (&mut shown, err)).await?);
        }
    }
    match &step.filter {
        Some(filter) => write!(out, "{}", filter.apply(&String::from_utf8_lossy(&shown)))?,
        None => out.write_all(&shown)?,
    }
    Ok(exit)
}

/// Runs the console on what this program was started with: a terminal, or a stream.
async fn console(arguments: &Arguments, script: &Script, dir: &DeviceDir, rng: &mut impl Rng) -> anyhow::Result<Exit> {
    // Without a box there is nothing to stand in for.
    dir.load()?;
    let screen = Screen::new(Box::new(io::stdout()));
    let source = match &script.file {
        Some(path) if path != Path::new("-") => {
            let file =
                tokio::fs::File::open(path).await.with_context(|| format!("could not read {}", path.display()))?;
            Source::stream(Box::new(BufReader::new(file)), script.echo)
        }
        Some(_) => Source::stream(Box::new(BufReader::new(tokio::io::stdin())), script.echo),
        None => match Editor::new(&screen)? {
            Some(editor) => Source::Terminal(editor),
            None => Source::stream(Box::new(BufReader::new(tokio::io::stdin())), script.echo),
        },
    };
    let reach = reacher(arguments, dir);
    let console = Console::new(dir, &*reach, OffsetDateTime::now_utc, screen, rng);
    // A script comes and goes; a session that stays is one in which the box is up.
    let stays = script.stay || matches!(source, Source::Terminal(_));
    let console = if stays { console.with_channel(Arc::clone(&reach)) } else { console };
    console.run(source, script.stay).await
}

async fn watch(
    arguments: &Arguments,
    debug: &args::Debug,
    dir: &DeviceDir,
    rng: &mut impl Rng,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<Exit> {
    let device = dir.load()?;
    let server = arguments.server.clone().unwrap_or_else(|| device.reports_to().clone());
    let dialer = dialer(arguments, dir, server)?;
    let components = debug.components.clone().unwrap_or_default();
    let view = View { components, tail: debug.tail, follow: debug.follow };
    let mut lines = Lines { serial: device.serial, timestamps: debug.timestamps, out };
    match feed::watch(&dialer, &device.serial, &view, arguments.timeout, rng, &mut lines).await {
        Ok(()) => Ok(Exit::Done),
        Err(FeedError::Output(error)) => Err(error.into()),
        Err(FeedError::Call(error)) => {
            writeln!(err, "error: {}", render::failure(&dialer.server, &error))?;
            Ok(Exit::from(&error))
        }
    }
}
