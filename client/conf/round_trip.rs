//! What is not changed stays as it is, byte for byte.

use proptest::prelude::*;

use crate::conf::configuration::{Configuration, Place};
use crate::conf::tree::Body;
use crate::conf::words::Word;

/// As a box with VDOMs writes it, with much that is not modelled.
pub(crate) const REAL: &str = r#"#config-version=FG101F-7.4.8-FW-build2795-250523:opmode=0:vdom=1:user=admin
#conf_file_ver=1234567890
#buildno=2795
#global_vdom=1

config vdom
edit root
next
edit dmz
next
end

config global
config system global
    set admin-server-cert "Fortinet_Factory"
    set hostname "branch"
    set vdom-mode multi-vdom
end
config system interface
    edit "port1"
        set vdom "dmz"
        set ip 10.0.0.1 255.255.255.0
        config ipv6
            set ip6-allowaccess ping
        end
    next
end
config vpn certificate local
    edit "own"
        set private-key "-----BEGIN ENCRYPTED PRIVATE KEY-----
end
next \" MIIE
-----END ENCRYPTED PRIVATE KEY-----"
        set comments "it's kept"
    next
end
end

config vdom
edit root
config user local
    edit "alice"
        set type password
        set two-factor fortitoken-cloud
        set email-to "alice@example.com"
        set passwd ENC abc==
    next
end
end

config vdom
edit dmz
config firewall policy
    edit 1
        set name 'all'
    next
end
end
"#;

/// Lines in any order, and some that make sense.
fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("config user local\n"),
        Just("    edit \"a b\"\n"),
        Just("        set x \"1\n2\" 3\n"),
        Just("    next\n"),
        Just("end\n"),
        Just("\n"),
        Just("# set\n"),
        Just("\tset y it's\r\n"),
        Just("config vdom\n"),
        Just("edit root\n"),
        Just("unset z\n"),
        Just("what"),
        Just("set a \\\n"),
    ];
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn what_is_read_is_written_back(text in prop_oneof![lines(), any::<String>()]) {
        if let Ok(body) = Body::parse(&text) {
            prop_assert_eq!(body.to_string(), text);
        }
    }

    #[test]
    fn a_changed_value_changes_its_line_alone(value in "[ -~]{1,20}", new in "[a-z]{1,8}") {
        let mut conf = Configuration::parse(REAL).unwrap();
        let root = Place::Vdom("root".to_owned());
        conf.edit_row(&root, "user local", "alice", |row| row.set("email-to", &[Word::quoted(value.as_str())], 2));
        let line = format!("        set email-to {}\n", Word::quoted(value.as_str()).written());
        prop_assert_eq!(conf.to_string(), REAL.replace("        set email-to \"alice@example.com\"\n", &line));

        conf.edit_row(&root, "user local", &format!("{new}-user"), |row| row.set("type", &[Word::bare("ldap")], 2));
        let row = format!("    edit \"{new}-user\"\n        set type ldap\n    next\n");
        prop_assert_eq!(conf.to_string().replace(&row, "").replace(&line, "        set email-to \"alice@example.com\"\n"), REAL);
        prop_assert_eq!(Configuration::parse(&conf.to_string()).unwrap(), conf);
    }
}

#[test]
fn a_real_configuration_is_read_and_written_back() {
    let conf = Configuration::parse(REAL).unwrap();
    assert_eq!(conf.to_string(), REAL);
    assert_eq!(conf.vdoms().iter().map(ToString::to_string).collect::<Vec<_>>(), ["root", "dmz"]);
    assert_eq!(conf.global("hostname"), Some("branch"));
    assert_eq!(conf.cloud_users().iter().map(|user| user.email.as_str()).collect::<Vec<_>>(), ["alice@example.com"]);
    assert_eq!(conf.references(&"dmz".parse().unwrap()), 1);
}

#[test]
fn a_vdom_that_comes_and_goes_leaves_no_trace() {
    let mut conf = Configuration::parse(REAL).unwrap();
    let lab = "lab".parse().unwrap();
    conf.add_vdom(&lab);
    conf.edit_row(&Place::Vdom("lab".to_owned()), "user local", "bob", |row| row.set("type", &[Word::bare("ldap")], 2));
    insta::assert_snapshot!(conf.to_string().replace(REAL.rsplit_once("edit dmz").unwrap().1, "\n...\n"), @r#"
    #config-version=FG101F-7.4.8-FW-build2795-250523:opmode=0:vdom=1:user=admin
    #conf_file_ver=1234567890
    #buildno=2795
    #global_vdom=1

    config vdom
    edit root
    next
    edit dmz
    next
    edit lab
    next
    end

    config global
    config system global
        set admin-server-cert "Fortinet_Factory"
        set hostname "branch"
        set vdom-mode multi-vdom
    end
    config system interface
        edit "port1"
            set vdom "dmz"
            set ip 10.0.0.1 255.255.255.0
            config ipv6
                set ip6-allowaccess ping
            end
        next
    end
    config vpn certificate local
        edit "own"
            set private-key "-----BEGIN ENCRYPTED PRIVATE KEY-----
    end
    next \" MIIE
    -----END ENCRYPTED PRIVATE KEY-----"
            set comments "it's kept"
        next
    end
    end

    config vdom
    edit root
    config user local
        edit "alice"
            set type password
            set two-factor fortitoken-cloud
            set email-to "alice@example.com"
            set passwd ENC abc==
        next
    end
    end

    config vdom
    edit dmz
    ...

    config vdom
    edit lab
    config user local
        edit "bob"
            set type ldap
        next
    end
    end
    "#);
    conf.remove_vdom(&lab);
    assert_eq!(conf.to_string(), REAL);
}

#[test]
fn vdoms_are_turned_on_and_off_and_nothing_is_lost() {
    let single = "#config-version=X\nconfig system global\n    set hostname \"b\"\nend\nconfig firewall policy\n    edit 1\n    next\nend\n";
    let mut conf = Configuration::parse(single).unwrap();
    conf.turn_on_vdoms();
    insta::assert_snapshot!(conf, @r#"
    #config-version=X
    config vdom
    edit root
    next
    end

    config global
    config system global
        set hostname "b"
        set vdom-mode multi-vdom
    end
    end

    config vdom
    edit root
    config firewall policy
        edit 1
        next
    end
    end
    "#);
    conf.turn_off_vdoms();
    assert_eq!(conf.to_string(), single);
}

#[test]
fn an_excerpt_is_merged_as_if_it_were_typed() {
    let mut conf = Configuration::parse(REAL).unwrap();
    let excerpt = "config user local\n    edit \"alice\"\n        set email-to \"a@example.net\"\n    next\n    edit \"carol\"\n        set fortitoken FTK1\n    next\nend\nconfig system ntp\n    set ntpsync enable\nend\n";
    conf.merge(Configuration::parse(excerpt).unwrap(), "root");
    insta::assert_snapshot!(conf.to_string().replace(&REAL[..REAL.find("    edit \"alice\"").unwrap()], "..."), @r#"
    #config-version=FG101F-7.4.8-FW-build2795-250523:opmode=0:vdom=1:user=admin
    #conf_file_ver=1234567890
    #buildno=2795
    #global_vdom=1

    config vdom
    edit root
    next
    edit dmz
    next
    end

    config global
    config system global
        set admin-server-cert "Fortinet_Factory"
        set hostname "branch"
        set vdom-mode multi-vdom
    end
    config system interface
        edit "port1"
            set vdom "dmz"
            set ip 10.0.0.1 255.255.255.0
            config ipv6
                set ip6-allowaccess ping
            end
        next
    end
    config vpn certificate local
        edit "own"
            set private-key "-----BEGIN ENCRYPTED PRIVATE KEY-----
    end
    next \" MIIE
    -----END ENCRYPTED PRIVATE KEY-----"
            set comments "it's kept"
        next
    end
    config system ntp
        set ntpsync enable
    end
    end

    config vdom
    edit root
    config user local
        edit "alice"
            set type password
            set two-factor fortitoken-cloud
            set email-to "a@example.net"
            set passwd ENC abc==
        next
        edit "carol"
            set fortitoken FTK1
        next
    end
    end

    config vdom
    edit dmz
    config firewall policy
        edit 1
            set name 'all'
        next
    end
    end
    "#);
}

#[test]
fn what_is_no_configuration_is_refused_with_its_line() {
    for (text, error) in [
        ("end\n", "line 1: there is nothing that it could end"),
        ("\nconfig x y\nnext\n", "line 3: next without edit"),
        ("config x\nedit 1\n", "line 3: the file ends before the last \"end\""),
        ("config x\nset y \"z\nend\n", "line 2: a quote is never closed"),
        ("config vdom\nedit \"a b\"\nnext\nend\n", "the VDOM \"a b\" cannot be called so"),
        ("config vdom\nedit #FOS_Administrator\nnext\nend\n", "the VDOM \"#FOS_Administrator\" cannot be called so"),
    ] {
        assert_eq!(Configuration::parse(text).unwrap_err().to_string(), error, "{text:?}");
    }
}
