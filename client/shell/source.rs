//! Where the lines of a session come from: a terminal, or a stream such as a file.

use std::fmt;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, Lines};

use crate::shell::editor::{Editor, Typed};
use crate::shell::guide::Guide;
use crate::shell::screen::Screen;

/// Where the lines of a session come from.
pub enum Source {
    /// A terminal.
    Terminal(Editor),
    /// A stream of lines.
    Stream {
        /// The lines.
        lines: Lines<Box<dyn AsyncBufRead + Send + Unpin>>,
        /// Whether prompt and line are shown, so that what is shown reads as on a terminal.
        echo: bool,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Terminal(_)) { "Terminal" } else { "Stream" })
    }
}

impl Source {
    /// A stream of lines.
    #[must_use]
    pub fn stream(stream: Box<dyn AsyncBufRead + Send + Unpin>, echo: bool) -> Self {
        Self::Stream { lines: stream.lines(), echo }
    }

    /// Shows a prompt.
    pub fn ask(&self, prompt: &str, guide: impl FnOnce() -> Guide, screen: &Screen) -> std::io::Result<()> {
        match self {
            Self::Terminal(editor) => {
                screen.prompting(true);
                editor.ask(prompt.to_owned(), guide());
                Ok(())
            }
            Self::Stream { echo: true, .. } => screen.print(prompt),
            Self::Stream { echo: false, .. } => Ok(()),
        }
    }

    /// What came of the prompt. Waiting may be given up and taken up again.
    pub async fn answer(&mut self, screen: &Screen) -> std::io::Result<Typed> {
        match self {
            Self::Terminal(editor) => {
                let typed = editor.answer().await;
                screen.prompting(false);
                Ok(typed)
            }
            Self::Stream { lines, echo } => {
                let line = lines.next_line().await?;
                if *echo {
                    let shown = line.as_deref().map(muster_proto::printable).unwrap_or_default();
                    screen.print(&format!("{shown}\n"))?;
                }
                Ok(line.map_or(Typed::Closed, Typed::Line))
            }
        }
    }
}
