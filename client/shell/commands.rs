//! Every command of the console, one a line, as its usage reads. Parsing, abbreviations, Tab, `?` and docs/console.md come from this table.

use crate::shell::grammar::{GLOBAL, ROW, SINGLE, TABLE, TOP, Usage, VDOM, VDOMS};

/// Where the service may be talked to: a box without VDOMs, or `config global`.
const CLOUD: u8 = SINGLE | GLOBAL;
/// Outside of every table.
const OUTSIDE: u8 = SINGLE | TOP | GLOBAL | VDOM;
/// Inside of one.
const INSIDE: u8 = TABLE | ROW;

/// The commands that do not depend on the tables; those of the tables are made from the schema.
pub const COMMANDS: &[Usage] = &[
    Usage { places: TOP, line: "config global", help: "Enter the global settings." },
    Usage { places: TOP, line: "config vdom", help: "Enter, make and delete VDOMs." },
    Usage { places: VDOMS, line: "edit <vdom>", help: "Enter a VDOM; make it if it is not there." },
    Usage { places: VDOMS, line: "delete <vdom>", help: "Delete a VDOM." },
    Usage { places: TABLE, line: "edit <row>", help: "Edit a row; begin it if it is not there." },
    Usage { places: TABLE, line: "delete <row>", help: "Delete a row." },
    Usage { places: TABLE, line: "purge", help: "Delete every row." },
    Usage { places: ROW | VDOM, line: "next", help: "Save this row, and stay in the table." },
    Usage { places: INSIDE | VDOMS | VDOM | GLOBAL, line: "end", help: "Save, and leave." },
    Usage { places: INSIDE | VDOMS | VDOM | GLOBAL, line: "abort", help: "Leave without saving." },
    Usage { places: INSIDE | VDOMS | OUTSIDE, line: "show", help: "Show what is not as it comes from the factory." },
    Usage { places: INSIDE, line: "show full-configuration", help: "Show every setting." },
    Usage { places: INSIDE | VDOMS, line: "get", help: "Show every setting with its value, or the rows of a table." },
    Usage { places: OUTSIDE, line: "get system status", help: "Show the status of the box." },
    Usage { places: OUTSIDE, line: "execute date", help: "Show the date." },
    Usage { places: OUTSIDE, line: "execute time", help: "Show the time." },
    Usage { places: CLOUD, line: "execute backup config <file>", help: "Write the configuration to a file." },
    Usage {
        places: CLOUD,
        line: "execute restore config <file>",
        help: "Read the configuration, or an excerpt of one, from a file.",
    },
    Usage {
        places: CLOUD,
        line: "execute fortitoken-cloud update",
        help: "Send the list of VDOMs to FortiToken Cloud.",
    },
    Usage {
        places: CLOUD,
        line: "execute fortitoken-cloud update dry-run",
        help: "Ask what an update would do; nothing is done.",
    },
    Usage {
        places: CLOUD,
        line: "execute fortitoken-cloud update confirm",
        help: "Do what the last dry-run said, or nothing if that is no longer so.",
    },
    Usage {
        places: CLOUD,
        line: "execute fortitoken-cloud sync [{all|local|remote} [{dry-run|confirm}]]",
        help: "Send the users to FortiToken Cloud.",
    },
    Usage { places: CLOUD, line: "execute fortitoken-cloud show", help: "Show the service status of this box." },
    Usage {
        places: CLOUD,
        line: "execute fortitoken-cloud new <user> {admin|local|remote} <vdom>",
        help: "Send a new activation code to a user.",
    },
    Usage { places: CLOUD, line: "execute fortitoken-cloud trial", help: "Begin a free trial." },
    Usage { places: CLOUD, line: "execute fortitoken-cloud region-info", help: "Show the region of the service." },
    Usage { places: CLOUD, line: "execute fortitoken-cloud region-reset", help: "Forget the region of the service." },
    Usage {
        places: CLOUD,
        line: "execute fortitoken-cloud migrate-ftm <license> <vdom>",
        help: "Move FortiToken Mobile users to FortiToken Cloud.",
    },
    Usage {
        places: CLOUD,
        line: "diagnose fortitoken-cloud debug {enable|disable|info}",
        help: "Switch the debug messages of FortiToken Cloud, or show whether they are on.",
    },
    Usage {
        places: CLOUD,
        line: "diagnose fortitoken-cloud show {server|realm|service|users}",
        help: "Show what FortiToken Cloud knows of this box.",
    },
    Usage { places: CLOUD, line: "diagnose fortitoken-cloud show user <user> <vdom>", help: "Show one user." },
    Usage {
        places: CLOUD,
        line: "diagnose fortitoken-cloud server [<host> <port>]",
        help: "Show where the service is, or set it.",
    },
    Usage { places: CLOUD, line: "diagnose fortitoken-cloud clear", help: "Forget where the service was set to be." },
    Usage {
        places: CLOUD,
        line: "diagnose fortitoken-cloud delete <user> <vdom>",
        help: "Delete a user at FortiToken Cloud.",
    },
    Usage {
        places: CLOUD,
        line: "diagnose fortitoken-cloud sync [{all|local|remote}]",
        help: "Send the users to FortiToken Cloud.",
    },
    Usage {
        places: CLOUD,
        line: "diagnose fortitoken-cloud set-http <number>",
        help: "Act as if the service answered with this HTTP status; 0 for what it says.",
    },
    Usage {
        places: CLOUD,
        line: "diagnose fortitoken-cloud migrate-ftm {show|start|abort|add-users|delete-users|ftm2ftc} <license> [<vdom>]",
        help: "Follow a migration of FortiToken Mobile users.",
    },
    Usage {
        places: OUTSIDE,
        line: "diagnose debug {enable|disable}",
        help: "Begin or stop to print debug messages in this session.",
    },
    Usage { places: OUTSIDE, line: "diagnose debug reset", help: "Switch every debug off." },
    Usage { places: OUTSIDE, line: "diagnose debug info", help: "Show which debugs are on." },
    Usage {
        places: OUTSIDE,
        line: "diagnose debug duration [<minutes>]",
        help: "How long debugs stay on: 1 to 99999 minutes, or 0 for ever.",
    },
    Usage {
        places: OUTSIDE,
        line: "diagnose debug application <application> [<level>]",
        help: "Switch the debug of an application: -1 or 255 for everything, 0 for nothing.",
    },
    Usage {
        places: OUTSIDE,
        line: "diagnose debug console timestamp {enable|disable}",
        help: "Whether each debug message begins with its time.",
    },
    Usage { places: OUTSIDE, line: "sudo global <command>...", help: "Run one command in the global settings." },
    Usage { places: OUTSIDE, line: "sudo <vdom> <command>...", help: "Run one command in a VDOM." },
    Usage { places: INSIDE | VDOMS | OUTSIDE, line: "exit", help: "Leave the console." },
    Usage { places: INSIDE | VDOMS | OUTSIDE, line: "quit", help: "Leave the console." },
];

/// What the words in front say, for `?`.
pub const GLOSSARY: &[(&str, &str)] = &[
    ("config", "Configure object."),
    ("get", "Get dynamic and system information."),
    ("show", "Show configuration."),
    ("diagnose", "Diagnose facility."),
    ("execute", "Execute static commands."),
    ("sudo", "Sudo command."),
    ("set", "Modify value."),
    ("unset", "Set to default value."),
    ("backup", "Backup commands."),
    ("restore", "Restore commands."),
    ("fortitoken-cloud", "FortiToken Cloud."),
    ("debug", "Debug commands."),
    ("application", "Debug an application."),
    ("console", "Settings of debug output."),
    ("system", "System operation commands."),
    ("user", "User authentication."),
    ("migrate-ftm", "Move FortiToken Mobile users."),
    ("<row>", "Name of the row."),
    ("<vdom>", "Name of the VDOM."),
    ("<user>", "Name of the user."),
    ("<value>", "Value."),
    ("<number>", "Number."),
    ("<minutes>", "Number of minutes."),
    ("<level>", "Debug level: a bit mask; -1 and 255 are everything."),
    ("<application>", "Name of the application."),
    ("<file>", "Name of the file."),
    ("<host>", "Name or address of the server."),
    ("<port>", "Port of the server."),
    ("<license>", "License number."),
    ("<command>", "The command."),
];

/// Applications whose debug is switched often; others may be named too.
pub const APPLICATIONS: &[&str] = &["fnbamd", "ftc", "httpsd", "sslvpn"];

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of commands as docs/console.md has it.
    fn table() -> String {
        let place = |places: u8| match places {
            CLOUD => "global",
            OUTSIDE => "outside of tables",
            TOP => "first prompt, with VDOMs",
            VDOMS => "`config vdom`",
            TABLE => "table",
            ROW => "row",
            INSIDE => "table, row",
            places if places & INSIDE == INSIDE && places & OUTSIDE == OUTSIDE => "everywhere",
            places if places == ROW | VDOM => "row, VDOM",
            places if places == INSIDE | VDOMS => "table, row, `config vdom`",
            _ => "inside of anything",
        };
        let row = |usage: &Usage| {
            format!("| `{}` | {} | {} |\n", usage.line.replace('|', "\\|"), place(usage.places), usage.help)
        };
        COMMANDS.iter().map(row).collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_table_in_the_documents_is_this_one() {
        let table = table();
        assert!(include_str!("../../docs/console.md").contains(&table), "put this into docs/console.md:\n{table}");
    }
}
