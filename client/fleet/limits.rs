//! The limits of this machine that thousands of connections meet: file descriptors and local ports.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use crate::connect::ConnectError;

/// What a process needs besides its connections: files, pipes, the runtime.
const SPARE: u64 = 64;
/// How much of the range of local ports is counted on; other programs use it too.
const PORTS_IN_TEN: u32 = 8;
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// A limit that a run would hit, with how to raise it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Too few file descriptors.
    #[error(
        "{needed} file descriptors are needed and {allowed} are allowed: run \"ulimit -n {needed}\" first, raise LimitNOFILE or \
         /etc/security/limits.conf if that is refused, or split the run with --part"
    )]
    Files {
        /// How many are needed.
        needed: u64,
        /// How many there may be.
        allowed: u64,
    },
    /// Too few local ports.
    #[error(
        "{needed} local ports are needed and about {allowed} are free: widen the range with \"sysctl -w \
         net.ipv4.ip_local_port_range='1024 65535'\", or split the run over several machines with --part"
    )]
    Ports {
        /// How many are needed.
        needed: u32,
        /// How many can be counted on.
        allowed: u32,
    },
}

/// Makes sure that so many connections to a host can be open, and tells from which addresses they are to be made in turn: none means that of
/// the system's choice.
pub fn prepare(connections: u32, host: &str) -> Result<Vec<Option<IpAddr>>, Limit> {
    let needed = u64::from(connections) + SPARE;
    // The soft limit is for accidents; up to the hard one a process may help itself.
    let allowed = rlimit::increase_nofile_limit(needed).unwrap_or(needed);
    if allowed < needed {
        return Err(Limit::Files { needed, allowed });
    }
    sources(connections, ports(), host.parse().ok())
}

/// How many local ports connections to one address may take from one address.
fn ports() -> u32 {
    let text = fs::read_to_string(PORT_RANGE).unwrap_or_default();
    let mut bounds = text.split_whitespace().map(str::parse::<u32>);
    match (bounds.next(), bounds.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => last - first + 1,
        // What Linux has if nobody changed it.
        _ => 28_232,
    }
}

/// A loopback server can be reached from every address of 127.0.0.0/8, each with ports of its own.
fn sources(connections: u32, ports: u32, server: Option<IpAddr>) -> Result<Vec<Option<IpAddr>>, Limit> {
    let allowed = ports / 10 * PORTS_IN_TEN;
    if connections <= allowed {
        return Ok(vec![None]);
    }
    match server {
        Some(IpAddr::V4(address)) if address.is_loopback() && allowed > 0 => {
            let hosts = u8::try_from(connections.div_ceil(allowed)).ok().filter(|hosts| *hosts < 250);
            let hosts = hosts.ok_or(Limit::Ports { needed: connections, allowed })?;
            Ok((2..2 + hosts).map(|host| Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)))).collect())
        }
        _ => Err(Limit::Ports { needed: connections, allowed }),
    }
}

/// Which limit a connection met that could not be made, if it was one, and how to raise it.
#[must_use]
pub fn met(error: &ConnectError) -> Option<&'static str> {
    let ConnectError::Tcp(attempts) = error else { return None };
    attempts.iter().find_map(|(_, error)| met_by(error))
}

fn met_by(error: &io::Error) -> Option<&'static str> {
    // EMFILE, ENFILE and EADDRNOTAVAIL of Linux.
    match (error.raw_os_error(), error.kind()) {
        (Some(24), _) => Some("this process ran out of file descriptors: raise \"ulimit -n\""),
        (Some(23), _) => Some("this machine ran out of file descriptors: raise \"sysctl fs.file-max\""),
        (_, io::ErrorKind::AddrNotAvailable) => {
            Some("this machine ran out of local ports: widen \"sysctl net.ipv4.ip_local_port_range\"")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_loopback_server_is_reached_from_several_addresses_when_ports_run_out() {
        assert_eq!(sources(5_000, 28_232, Some(address("127.0.0.1"))), Ok(vec![None]));
        let many = sources(50_000, 28_232, Some(address("127.0.0.1"))).unwrap();
        assert_eq!(many, ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|text| Some(address(text))));
    }

    #[test]
    fn another_server_has_as_many_connections_as_there_are_ports() {
        for server in [Some(address("192.0.2.1")), Some(address("::1")), None] {
            let limit = sources(50_000, 28_232, server).unwrap_err();
            assert_eq!(limit, Limit::Ports { needed: 50_000, allowed: 22_584 });
            assert!(limit.to_string().contains("ip_local_port_range"));
        }
    }

    #[test]
    fn a_limit_on_file_descriptors_is_told_with_how_to_raise_it() {
        let limit = prepare(u32::MAX, "127.0.0.1").unwrap_err();
        assert!(limit.to_string().contains(&format!("ulimit -n {}", u64::from(u32::MAX) + SPARE)), "{limit}");
    }

    #[test]
    fn the_limit_that_a_connection_met_is_named() {
        let failed =
            |code| ConnectError::Tcp(vec![("127.0.0.1:1".parse().unwrap(), io::Error::from_raw_os_error(code))]);
        assert!(met(&failed(24)).unwrap().contains("ulimit -n"));
        assert!(met(&failed(99)).unwrap().contains("ip_local_port_range"));
        assert_eq!(met(&failed(111)), None);
    }
}
