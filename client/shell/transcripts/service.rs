//! What talks to the service, the debug recipe, and commands with something around them.

use super::*;

#[test]
fn the_recipe_of_the_guide_is_understood_with_its_typographic_dash() {
    let shown = transcript(
        &mut multi(),
        &[
            "config global",
            "diag fortitoken-cloud debug enable",
            "diagnose debug console timestamp enable",
            "diag debug appl fnbamd \u{2013}1",
            "diag debug application httpsd 255",
            "diag debug enable",
            "diagnose debug info",
            "diagnose debug application sslvpn \u{2013}1",
            "diagnose debug application sslvpn",
            "diagnose debug application sslvpn 0",
            "diagnose debug application sslvpn 256",
            "diagnose debug application s/s 1",
            "diagnose fortitoken-cloud debug info",
            "diagnose debug duration",
            "diagnose debug duration 0",
            "diag debug appl fnbamd -1",
            "diagnose debug duration 100000",
            "diagnose debug duration 5",
            "diagnose debug disable",
            "diagnose debug reset",
            "diagnose fortitoken-cloud debug disable",
            "diagnose debug info",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn the_commands_of_the_service_are_understood() {
    let shown = transcript(
        &mut multi(),
        &[
            "execute fortitoken-cloud update",
            "execute date",
            "execute time",
            "config global",
            "execute fortitoken-cloud update",
            "execute fortitoken-cloud update dry-run",
            "execute fortitoken-cloud update confirm",
            "execute fortitoken-cloud sync",
            "execute fortitoken-cloud sync all",
            "execute fortitoken-cloud sync local",
            "execute fortitoken-cloud sync remote",
            "execute fortitoken-cloud sync all dry-run",
            "execute fortitoken-cloud sync local confirm",
            "execute fortitoken-cloud show",
            "execute fortitoken-cloud new alice local dmz",
            "execute fortitoken-cloud trial",
            "execute fortitoken-cloud region-info",
            "execute fortitoken-cloud region-reset",
            "execute fortitoken-cloud migrate-ftm EFTM123456789012 root",
            "diagnose fortitoken-cloud show server",
            "diagnose fortitoken-cloud show service",
            "diagnose fortitoken-cloud show realm",
            "diagnose fortitoken-cloud show users",
            "diagnose fortitoken-cloud show user alice dmz",
            "diagnose fortitoken-cloud server",
            "diagnose fortitoken-cloud server 10.0.0.1 9443",
            "diagnose fortitoken-cloud server",
            "diagnose fortitoken-cloud server a/b 1",
            "diagnose fortitoken-cloud clear",
            "diagnose fortitoken-cloud server",
            "diagnose fortitoken-cloud delete alice dmz",
            "diagnose fortitoken-cloud delete alice a/b",
            "diagnose fortitoken-cloud sync",
            "diagnose fortitoken-cloud set-http 402",
            "diagnose fortitoken-cloud set-http 9999",
            "diagnose fortitoken-cloud migrate-ftm show EFTM123456789012",
            "config system global",
            "set fortitoken-cloud disable",
            "end",
            "execute fortitoken-cloud update",
            "end",
            "config vdom",
            "edit quiet",
            "end",
            "config global",
            "execute backup config box.conf",
            "execute restore config box.conf",
            "n",
            "execute restore config box.conf",
            "y",
            "exit",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn a_command_can_be_run_elsewhere() {
    let shown = transcript(
        &mut multi(),
        &[
            "sudo global exec fortitoken-cloud update",
            "sudo dmz show user local",
            "sudo nowhere get system status",
            "sudo dmz config user local",
            "sudo global show system global",
            "config vdom",
            "edit dmz",
            "sudo root get system status | grep -n -i VIRTUAL",
            "sudo",
            "sudo global",
            "quit",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn an_output_can_be_filtered_and_a_line_continued() {
    let shown = transcript(
        &mut single(),
        &[
            "get system status | grep Serial-Number:",
            "get system status | grep -v : ",
            "get system status | grep -c a",
            "get system status |",
            "get system status | less",
            "get system status | grep",
            "get system status | grep a b",
            "get system status | grep (",
            "# a comment",
            "",
            "config system admin",
            "edit admin",
            "set comments \"one",
            "two\"",
            "set comments 'it is'",
            "show",
            "set comments \"a | b\"",
            "get | grep comm",
            "exit",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn mobile_tokens_are_migrated_after_a_question() {
    let users = [
        "config vdom",
        "edit dmz",
        "config user local",
        "edit ann",
        "set two-factor fortitoken",
        "set fortitoken FTKMOB44142CCBF3",
        "set email-to ann@example.com",
        "next",
        "edit bob",
        "set two-factor fortitoken",
        "set fortitoken FTK2001234567890",
        "end",
        "end",
        "config global",
    ];
    let migration = [
        "execute fortitoken-cloud migrate-ftm EFTM123456789012 root",
        "execute fortitoken-cloud migrate-ftm EFTM12345678901X dmz",
        "execute fortitoken-cloud migrate-ftm EFTM123456789012 nowhere",
        "diagnose fortitoken-cloud migrate-ftm show EFTM123456789012 dmz",
        "execute fortitoken-cloud migrate-ftm EFTM123456789012 dmz",
        "n",
        "diagnose fortitoken-cloud migrate-ftm abort EFTM123456789012 dmz",
        "diagnose fortitoken-cloud migrate-ftm start EFTM123456789012 dmz",
        "y",
        "sudo dmz show user local",
        "diagnose fortitoken-cloud migrate-ftm show EFTM123456789012 dmz",
        "sudo global execute fortitoken-cloud migrate-ftm EFTM123456789012 dmz",
    ];
    let shown = transcript(&mut multi(), &[&users[..], &migration[..]].concat());
    insta::assert_snapshot!(shown);
}
