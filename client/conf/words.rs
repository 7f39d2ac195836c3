//! The words of a FortiOS line: blanks part them, quotes hold them together, a backslash takes the next character as it is.

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it says, without its quotes.
    pub text: String,
    /// Whether it was quoted, and so cannot be a keyword.
    pub quoted: bool,
}

/// A quote that is never closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token line: Unmatched {0} quote.")]
pub struct Unmatched(&'static str);

impl Word {
    /// A word that is written without quotes.
    #[must_use]
    pub fn bare(text: impl Into<String>) -> Self {
        Self { text: text.into(), quoted: false }
    }

    /// A word that is written in quotes.
    #[must_use]
    pub fn quoted(text: impl Into<String>) -> Self {
        Self { text: text.into(), quoted: true }
    }

    /// The word as it is written in a configuration: in quotes if it was, or if it could not be read back without.
    #[must_use]
    pub fn written(&self) -> String {
        let special = |character: char| character.is_whitespace() || "\"'\\#".contains(character);
        if self.quoted || self.text.is_empty() || self.text.contains(special) {
            format!("\"{}\"", self.text.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            self.text.clone()
        }
    }
}

/// The words of a line, and whether the last one is over: what stands behind a blank begins a new one.
#[must_use]
pub fn split(line: &str) -> (Vec<Word>, bool, Option<Unmatched>) {
    let mut words: Vec<Word> = Vec::new();
    let mut current: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, blank) if blank.is_whitespace() => words.extend(current.take()),
            (None, '"' | '\'') => {
                quote = Some(character);
                current.get_or_insert_with(|| Word::quoted("")).quoted = true;
            }
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => {
                let escaped = characters.next().unwrap_or('\\');
                current.get_or_insert_with(|| Word::bare("")).text.push(escaped);
            }
            (_, character) => current.get_or_insert_with(|| Word::bare("")).text.push(character),
        }
    }
    let over = current.is_none();
    words.extend(current);
    (words, over, quote.map(|quote| Unmatched(if quote == '"' { "double" } else { "single" })))
}

/// The words of a whole line.
pub fn words(line: &str) -> Result<Vec<Word>, Unmatched> {
    match split(line) {
        (words, _, None) => Ok(words),
        (_, _, Some(unmatched)) => Err(unmatched),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_survive_being_written(texts in prop::collection::vec(any::<(String, bool)>(), 0..6)) {
            let before: Vec<Word> = texts.into_iter().map(|(text, quoted)| Word { text, quoted }).collect();
            let line = before.iter().map(Word::written).collect::<Vec<_>>().join(" ");
            let after = words(&line).unwrap();
            let texts = |words: &[Word]| words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
            prop_assert_eq!(texts(&after), texts(&before));
        }
    }

    #[test]
    fn quotes_hold_together_and_a_backslash_escapes() {
        let texts = |line| words(line).map(|words| words.into_iter().map(|word| word.text).collect::<Vec<_>>());
        assert_eq!(
            texts(r#" set  comment "a b" 'c "d'  e\ f "g\"h" "#).unwrap(),
            ["set", "comment", "a b", "c \"d", "e f", "g\"h"]
        );
        assert_eq!(texts("unset \"\"").unwrap(), ["unset", ""]);
        assert_eq!(words("set x \"y").unwrap_err().to_string(), "token line: Unmatched double quote.");
        assert_eq!(words("set x 'y").unwrap_err().to_string(), "token line: Unmatched single quote.");
    }
}
