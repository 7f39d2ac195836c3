//! The commands of `fortigate`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use muster_proto::device::DeviceInfo;
use muster_proto::{SerialNumber, Text, VdomName, printable};
use rand::Rng;
use time::OffsetDateTime;
use tonic::Code;

use crate::args::{self, Arguments, Command, DEFAULT_DEVICE, Init, Vdom};
use crate::certificate::{self, FactoryCa};
use crate::connect::Dialer;
use crate::device::Device;
use crate::device_dir::DeviceDir;
use crate::failure::CallError;
use crate::feed::{self, FeedError, View};
use crate::fleet::Way;
use crate::model::{self, Model};
use crate::server_url::{DEFAULT_SERVER, ServerUrl};
use crate::{conformance, fleet, fortios, render, update};

/// How a command ended; see `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl From<&CallError> for Exit {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Connect(_) | CallError::Lost(_) | CallError::NoAnswer(_) => Self::Unreachable,
            CallError::Refused(refusal) if refusal.is_authorisation() => Self::NotAuthorised,
            CallError::Refused(refusal) => match refusal.code {
                Code::Unavailable | Code::DeadlineExceeded => Self::Unreachable,
                _ => Self::Failed,
            },
        }
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
            dir.edit(|device| names.iter().try_for_each(|name| device.add_vdom(*name)))?;
        }
        Command::Vdom(Vdom::Delete { names }) => {
            dir.edit(|device| names.iter().try_for_each(|name| device.delete_vdom(*name)))?;
        }
        Command::Vdom(Vdom::List) => {
            for name in dir.load()?.vdoms() {
                writeln!(out, "{name}")?;
            }
        }
        Command::Exec { words } => return exec(&arguments, &words.join(" "), &dir, rng, out, err).await,
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
    let [model, hostname, firmware] = device.info.texts();
    let vdoms: Vec<_> = device.vdoms().iter().map(VdomName::as_str).collect();
    writeln!(out, "Serial number: {}", device.serial)?;
    writeln!(out, "Model: {model}")?;
    writeln!(out, "Hostname: {hostname}")?;
    writeln!(out, "Firmware: {firmware}")?;
    writeln!(out, "VDOMs: {}", vdoms.join(", "))?;
    writeln!(out, "Server: {}", device.server)
}

fn dialer(arguments: &Arguments, dir: &DeviceDir, server: ServerUrl) -> anyhow::Result<Dialer> {
    let tls = dir.credentials(arguments.ca.as_deref())?.client_config()?;
    Ok(Dialer { server, tls, connect_timeout: arguments.connect_timeout })
}

async fn exec(
    arguments: &Arguments,
    line: &str,
    dir: &DeviceDir,
    rng: &mut impl Rng,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<Exit> {
    let fortios::Command::Update = match fortios::parse(line) {
        Ok(command) => command,
        Err(error) => {
            writeln!(out, "{error}")?;
            return Ok(Exit::Usage);
        }
    };
    let device = dir.load()?;
    let server = arguments.server.clone().unwrap_or_else(|| device.server.clone());
    let dialer = dialer(arguments, dir, server)?;
    let note = |error: &CallError, wait| {
        let cause = printable(&error.to_string());
        let _ = writeln!(err, "{}: {cause}; trying again in {}", dialer.server.authority(), render::wait(wait));
    };
    let answer = match update::update(&dialer, &device, arguments.timeout, rng, note).await {
        Ok(answer) => answer,
        Err(error) => return Ok(update_failed(&dialer, &error, out, err)?),
    };
    if !render::was_taken(&answer) {
        writeln!(out, "{}", render::COMMAND_FAIL)?;
        anyhow::bail!("the server did not take the list: it answered {}", answer.status().as_str_name());
    }
    writeln!(out, "{}", render::UPDATED)?;
    for item in render::items(&device.serial, &answer) {
        writeln!(out, "{item}")?;
    }
    Ok(if render::has_failures(&answer) { Exit::Failed } else { Exit::Done })
}

fn update_failed(dialer: &Dialer, error: &CallError, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let exit = Exit::from(error);
    if exit != Exit::Failed {
        writeln!(out, "{}", render::CANNOT_FIND)?;
    }
    writeln!(out, "{}", render::COMMAND_FAIL)?;
    // First what FortiOS says, then why.
    out.flush()?;
    writeln!(err, "{}", render::failure(&dialer.server, error))?;
    Ok(exit)
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
    let server = arguments.server.clone().unwrap_or(device.server);
    let dialer = dialer(arguments, dir, server)?;
    let view = View {
        components: debug.components.clone().unwrap_or_default(),
        timestamps: debug.timestamps,
        tail: debug.tail,
        follow: debug.follow,
    };
    match feed::watch(&dialer, &device.serial, &view, arguments.timeout, rng, out).await {
        Ok(()) => Ok(Exit::Done),
        Err(FeedError::Output(error)) => Err(error.into()),
        Err(FeedError::Call(error)) => {
            writeln!(err, "error: {}", render::failure(&dialer.server, &error))?;
            Ok(Exit::from(&error))
        }
    }
}
