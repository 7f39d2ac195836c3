//! The file that stands in for an LDAP server: LDIF, as every directory exports it, and the users in it that a row of `config user ldap` means.

use std::fmt;

use data_encoding::BASE64;

use crate::conf::users::{CloudUser, Directory, Kind};
use crate::ldap_filter::{Filter, FilterError};

/// An entry of a directory: its attributes, in order, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    dn: String,
    attributes: Vec<(String, String)>,
}

/// What is wrong with a directory, or with what a row wants of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// A line is not LDIF.
    #[error("line {0} is not LDIF: NAME: VALUE")]
    Line(usize),
    /// The filter cannot be read.
    #[error("two-factor-filter: {0}")]
    Filter(#[from] FilterError),
}

impl Entry {
    /// The first value of an attribute; letter case of the name does not count.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All values of an attribute.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let name = name.to_ascii_lowercase();
        self.attributes.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.as_str())
    }
}

/// Reads LDIF (RFC 2849): entries apart by blank lines, folded lines, comments, and values in base64.
pub fn parse(text: &str) -> Result<Vec<Entry>, DirectoryError> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix(' '), lines.last_mut()) {
            (Some(more), Some((_, folded))) if !folded.is_empty() => folded.push_str(more),
            _ => lines.push((number + 1, line.trim_end().to_owned())),
        }
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut open = false;
    for (number, line) in lines {
        if line.is_empty() {
            open = false;
            continue;
        }
        if line.starts_with('#') || line.starts_with("version:") {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(DirectoryError::Line(number))?;
        let value = match value.strip_prefix(':') {
            Some(encoded) => {
                let bytes = BASE64.decode(encoded.trim().as_bytes()).map_err(|_| DirectoryError::Line(number))?;
                String::from_utf8(bytes).map_err(|_| DirectoryError::Line(number))?
            }
            None => value.trim().to_owned(),
        };
        if !open {
            entries.push(Entry::default());
            open = true;
        }
        if let Some(entry) = entries.last_mut() {
            match name.trim().to_ascii_lowercase() {
                name if name == "dn" => entry.dn = value,
                name => entry.attributes.push((name, value)),
            }
        }
    }
    Ok(entries)
}

/// The users that a row of `config user ldap` means: under its `dn`, passing its filter, with its `cnid`. Those without an e-mail address are
/// among them: the service says so of each.
pub fn users(directory: &Directory, text: &str) -> Result<Vec<CloudUser>, DirectoryError> {
    let filter = if directory.filter.trim().is_empty() { None } else { Some(directory.filter.parse::<Filter>()?) };
    let base = normal(&directory.dn);
    let meant = |entry: &Entry| {
        let dn = normal(&entry.dn);
        let under = base.is_empty() || dn == base || dn.ends_with(&format!(",{base}"));
        under && filter.as_ref().is_none_or(|filter| filter.matches(entry))
    };
    let user = |entry: Entry| {
        let username = entry.first(&directory.cnid)?.to_owned();
        let value = |name| entry.first(name).unwrap_or_default().to_owned();
        Some(CloudUser {
            vdom: directory.vdom,
            username,
            kind: Kind::Remote,
            email: value("mail"),
            mobile: value("mobile"),
            method: String::new(),
            notification: String::new(),
            enabled: true,
        })
    };
    Ok(parse(text)?.into_iter().filter(meant).filter_map(user).collect())
}

/// A distinguished name without what does not count: letter case, and blanks around its parts.
fn normal(dn: &str) -> String {
    let parts: Vec<_> = dn.split(',').map(|part| part.trim().to_ascii_lowercase()).collect();
    parts.join(",")
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LDIF: &str = "version: 1\n\n# people\ndn: cn=Ann,ou=People,dc=corp,dc=example\nobjectClass: person\ncn: Ann\nsAMAccountName: ann\nmail: ann@corp.exam\n ple\nmobile: +14080123456\nmemberOf: cn=vpn,dc=corp,dc=example\n\ndn: cn=Bob, OU=People, DC=corp, DC=example\nobjectClass: person\ncn:: Qm9i\nsAMAccountName: bob\n\ndn: cn=printer,ou=Things,dc=corp,dc=example\nobjectClass: device\ncn: printer\n\ndn: cn=Eve,dc=else,dc=example\ncn: Eve\nsAMAccountName: eve\n";

    fn names(dn: &str, cnid: &str, filter: &str) -> Result<Vec<String>, DirectoryError> {
        let directory = Directory {
            vdom: muster_proto::VdomName::ROOT,
            name: "corp".to_owned(),
            server: "ldap".to_owned(),
            cnid: cnid.to_owned(),
            dn: dn.to_owned(),
            filter: filter.to_owned(),
        };
        users(&directory, LDIF)
            .map(|users| users.into_iter().map(|user| format!("{} {}", user.username, user.email)).collect())
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = parse(&text);
        }
    }

    #[test]
    fn dn_cnid_and_filter_say_who_is_meant() {
        assert_eq!(names("dc=corp,dc=example", "sAMAccountName", "").unwrap(), ["ann ann@corp.example", "bob "]);
        assert_eq!(
            names("DC=Corp, DC=Example", "cn", "(objectClass=person)").unwrap(),
            ["Ann ann@corp.example", "Bob "]
        );
        assert_eq!(names("", "cn", "(memberOf=cn=vpn,dc=corp,dc=example)").unwrap(), ["Ann ann@corp.example"]);
        assert!(matches!(names("", "cn", "(nonsense"), Err(DirectoryError::Filter(_))));
        assert_eq!(parse("dn: x\nnonsense\n"), Err(DirectoryError::Line(2)));
    }
}
