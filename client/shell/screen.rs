//! Where a session shows things: a stream, or a terminal with a prompt that must stay the last line.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Where a session shows things. Copies show on the same.
#[derive(Clone)]
pub struct Screen(Arc<Mutex<Output>>);

struct Output {
    stream: Box<dyn Write + Send>,
    /// Prints above the prompt; only on a terminal.
    above: Option<Sender<String>>,
    /// Whether the prompt is shown now.
    prompting: bool,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}

impl Screen {
    /// A screen on a stream.
    #[must_use]
    pub fn new(stream: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Output { stream, above: None, prompting: false })))
    }

    /// While the prompt is shown, `print` shows what comes. It has a thread of its own, because it waits for the line editor.
    pub fn prints_above(&self, mut print: impl FnMut(String) -> io::Result<()> + Send + 'static) {
        let (above, texts) = channel();
        self.lock().above = Some(above);
        thread::spawn(move || texts.into_iter().try_for_each(|text| print(text).map_err(drop)));
    }

    /// Says whether the prompt is shown now.
    pub fn prompting(&self, prompting: bool) {
        self.lock().prompting = prompting;
    }

    /// Shows text.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut output = self.lock();
        match &output.above {
            Some(above) if output.prompting => {
                above.send(text.to_owned()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            }
            _ => {
                output.stream.write_all(text.as_bytes())?;
                output.stream.flush()
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Output> {
        // What a thread that panicked left behind is text that was shown.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.print(&String::from_utf8_lossy(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
