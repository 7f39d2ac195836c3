//! The command tree against what is typed: abbreviations, what may come next, and anything else.

use muster_proto::printable;
use proptest::prelude::*;

use crate::conf::schema::{TABLES, Table};
use crate::conf::words::{self, Word};
use crate::shell::commands::COMMANDS;
use crate::shell::editor::help;
use crate::shell::grammar::{self, GLOBAL, ROW, SINGLE, TABLE, TOP, TokenKind, VDOM, VDOMS};
use crate::shell::guide::{Guide, ParseError};

const PLACES: [u8; 7] = [SINGLE, TOP, GLOBAL, VDOM, VDOMS, TABLE, ROW];

fn guide(place: u8) -> Guide {
    Guide::new(place, Table::at("user local"), vec!["root".to_owned(), "dmz".to_owned()], vec!["alice".to_owned()])
}

/// Every command line of a place, spelt out, with a value for each argument; and whether each word is a keyword.
fn lines(place: u8) -> Vec<Vec<(String, bool)>> {
    let of_tables = TABLES.iter().map(|table| format!("config {}", table.path));
    let usages = COMMANDS.iter().filter(|usage| usage.places & place != 0).map(|usage| usage.line.to_owned());
    let usages = usages.chain(of_tables.filter(|line| place == SINGLE && !line.is_empty()));
    usages
        .flat_map(|usage| {
            let tokens = grammar::tokens(&usage);
            let widest = tokens.iter().filter_map(|token| match &token.kind {
                TokenKind::Words(words) => Some(words.len()),
                TokenKind::Argument { .. } => None,
            });
            (0..widest.max().unwrap_or(1))
                .map(move |choice| {
                    let word = |token: &grammar::Token| match &token.kind {
                        TokenKind::Words(words) => (words[choice % words.len()].clone(), true),
                        TokenKind::Argument { name, .. } if grammar::is_number(name) => ("7".to_owned(), false),
                        TokenKind::Argument { .. } => ("zzz".to_owned(), false),
                    };
                    tokens.iter().map(word).collect()
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Whether the keywords that other lines have after the same words leave one that a prefix can stand for.
fn unambiguous(all: &[Vec<(String, bool)>], line: &[(String, bool)], at: usize, prefix: &str) -> bool {
    let fits = |other: &&Vec<(String, bool)>| {
        let same = |index: usize| other.get(index).is_some_and(|(word, keyword)| !keyword || *word == line[index].0);
        (0..at).all(same)
    };
    let mut next: Vec<&(String, bool)> = all.iter().filter(fits).filter_map(|other| other.get(at)).collect();
    next.sort();
    next.dedup();
    let keywords: Vec<&str> = next.iter().filter(|(_, keyword)| *keyword).map(|(word, _)| word.as_str()).collect();
    let has_argument = next.iter().any(|(_, keyword)| !keyword);
    let begun = keywords.iter().filter(|word| word.starts_with(prefix)).count();
    // A word that is spelt out is meant, though it begins another.
    prefix == line[at].0 || (!has_argument && !keywords.contains(&prefix) && begun == 1)
}

proptest! {
    #[test]
    fn any_unambiguous_prefix_is_accepted_everywhere(
        place in prop::sample::select(&PLACES[..]),
        line in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(1..20_usize, 8),
        blank in "[ \t\u{a0}]{1,3}",
    ) {
        let all = lines(place);
        let line = line.get(&all);
        let typed: Vec<&str> = line.iter().zip(&cuts).map(|((word, keyword), cut)| if *keyword { &word[..*cut.min(&word.len())] } else { word.as_str() }).collect();
        let clear = line.iter().zip(&typed).enumerate().all(|(at, ((_, keyword), prefix))| !keyword || unambiguous(&all, line, at, prefix));
        let words = words::words(&format!("{blank}{}{blank}", typed.join(&blank))).unwrap();
        let read = guide(place).parse(&words);
        // A place also has the commands of its tables and settings, so that what is clear here may be short for one of those.
        match read {
            Ok(read) if clear => prop_assert_eq!(read, line.iter().map(|(word, _)| word.clone()).collect::<Vec<_>>()),
            Ok(read) => prop_assert!(read.iter().zip(&typed).all(|(word, prefix)| word.starts_with(prefix))),
            Err(ParseError::Word(word)) => prop_assert!(typed.contains(&word.as_str()) && guide_is_torn(place, &typed, &word)),
            Err(error) => prop_assert!(!clear, "{typed:?}: {error:?}"),
        }
    }

    #[test]
    fn what_is_proposed_is_understood(place in prop::sample::select(&PLACES[..]), steps in prop::collection::vec(any::<prop::sample::Index>(), 1..6)) {
        let guide = guide(place);
        let mut line = String::new();
        for step in steps {
            let (next, begun) = guide.next(&line);
            prop_assert_eq!(begun, "");
            let words: Vec<&str> = next.iter().map(|next| next.word.as_str()).filter(|word| !word.starts_with('<')).collect();
            if words.is_empty() { break; }
            let word = step.get(&words);
            let half = &word[..word.len().div_ceil(2)];
            prop_assert!(guide.next(&format!("{line}{half}")).0.iter().any(|next| next.word == **word), "{line}{half}");
            line = format!("{line}{word} ");
            let read = guide.parse(&words::words(&line).unwrap());
            prop_assert!(matches!(read, Ok(_) | Err(ParseError::Incomplete)), "{line}: {read:?}");
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic_or_reaches_a_terminal_raw(place in prop::sample::select(&PLACES[..]), text in any::<String>()) {
        let guide = guide(place);
        if let Ok(words) = words::words(&text)
            && let Err(ParseError::Word(word) | ParseError::Value(word)) = guide.parse(&words)
        {
            prop_assert_eq!(printable(&word), word);
        }
        let _ = help(&guide, &text);
    }
}

/// Whether several keywords begin like this word where it is typed, so that nobody can say which is meant.
fn guide_is_torn(place: u8, typed: &[&str], word: &str) -> bool {
    let guide = guide(place);
    let torn = |at: usize| {
        let (next, _) = guide.next(&format!("{} ", typed[..at].join(" ")));
        typed[at] == word && next.iter().filter(|next| next.word.starts_with(word)).count() != 1
    };
    (0..typed.len()).any(torn)
}

fn read(place: u8, line: &str) -> Result<Vec<String>, ParseError> {
    guide(place).parse(&words::words(line).unwrap())
}

#[test]
fn abbreviations_blanks_and_dashes_of_guides_are_understood() {
    let update = ["execute", "fortitoken-cloud", "update"];
    for line in
        ["execute fortitoken-cloud update", "exe forti upd", "  exec\tfortitoken\u{2013}cloud   update ", "exe f u"]
    {
        assert_eq!(read(GLOBAL, line).unwrap(), update, "{line}");
    }
    assert_eq!(read(GLOBAL, "di de en").unwrap(), ["diagnose", "debug", "enable"]);
    assert_eq!(
        read(GLOBAL, "diag debug appl fnbamd \u{2013}1").unwrap(),
        ["diagnose", "debug", "application", "fnbamd", "-1"]
    );
    assert_eq!(read(GLOBAL, "conf sys ad").unwrap(), ["config", "system", "admin"]);
    assert_eq!(read(ROW, "set two-factor fortitoken-cloud").unwrap(), ["set", "two-factor", "fortitoken-cloud"]);
    // A value is not a keyword: its dash stays.
    assert_eq!(read(ROW, "set email-to a\u{2013}b@example.com").unwrap()[2], "a\u{2013}b@example.com");
}

#[test]
fn errors_name_the_word_that_is_not_understood() {
    let word = |text: &str| ParseError::Word(text.to_owned());
    assert_eq!(read(GLOBAL, "execute fortitoken-cloud xyz"), Err(word("xyz")));
    assert_eq!(read(GLOBAL, "e"), Err(word("e")), "short for execute, end and exit");
    assert_eq!(read(GLOBAL, "exec forti upd now"), Err(word("now")));
    assert_eq!(read(GLOBAL, "exec forti"), Err(ParseError::Incomplete));
    assert_eq!(read(GLOBAL, "diagnose debug duration soon"), Err(ParseError::Value("soon".to_owned())));
    assert_eq!(guide(GLOBAL).parse(&[Word::quoted("exit")]), Err(word("exit")), "what is quoted is no keyword");
}

#[test]
fn help_shows_what_may_come_next() {
    insta::assert_snapshot!(help(&guide(GLOBAL), "execute fortitoken-cloud "), @r"
    migrate-ftm     Move FortiToken Mobile users to FortiToken Cloud.
    new             Send a new activation code to a user.
    region-info     Show the region of the service.
    region-reset    Forget the region of the service.
    show            Show the service status of this box.
    sync            Send the users to FortiToken Cloud.
    trial           Begin a free trial.
    update          Send the list of VDOMs to FortiToken Cloud.
    ");
    insta::assert_snapshot!(help(&guide(GLOBAL), "diag deb "), @r"
    application    Switch the debug of an application: -1 or 255 for everything, 0 for nothing.
    console        Settings of debug output.
    disable        Begin or stop to print debug messages in this session.
    duration       How long debugs stay on: 1 to 99999 minutes, or 0 for ever.
    enable         Begin or stop to print debug messages in this session.
    info           Show which debugs are on.
    reset          Switch every debug off.
    ");
    insta::assert_snapshot!(help(&guide(VDOMS), "edit "), @r"
    dmz
    root
    <vdom>    Name of the VDOM.
    ");
    insta::assert_snapshot!(help(&guide(ROW), "set two-factor "), @r"
    disable             Enable/disable two-factor authentication.
    email               Enable/disable two-factor authentication.
    fortitoken          Enable/disable two-factor authentication.
    fortitoken-cloud    Enable/disable two-factor authentication.
    sms                 Enable/disable two-factor authentication.
    ");
    insta::assert_snapshot!(help(&guide(ROW), "set two"), @r"
    two-factor                   Enable/disable two-factor authentication.
    two-factor-authentication    Authentication method by FortiToken Cloud.
    two-factor-notification      Notification method for user activation by FortiToken Cloud.
    ");
    insta::assert_snapshot!(help(&guide(TABLE), ""), @r"
    abort     Leave without saving.
    delete    Delete a row.
    edit      Edit a row; begin it if it is not there.
    end       Save, and leave.
    exit      Leave the console.
    get       Show every setting with its value, or the rows of a table.
    purge     Delete every row.
    quit      Leave the console.
    show      Show what is not as it comes from the factory.
    ");
    insta::assert_snapshot!(help(&guide(GLOBAL), "execute fortitoken-cloud update "), @r"
    confirm    Do what the last dry-run said, or nothing if that is no longer so.
    dry-run    Ask what an update would do; nothing is done.
    <Enter>    Send the list of VDOMs to FortiToken Cloud.
    ");
    insta::assert_snapshot!(help(&guide(GLOBAL), "execute xyz "), @"");
}
