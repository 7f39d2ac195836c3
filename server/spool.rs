//! A list of messages that is too long to be held: a little of it in memory, and the rest in a file that nobody else sees.

use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _};

use prost::Message;
use tempfile::SpooledTempFile;

/// How many bytes are held in memory.
const IN_MEMORY: usize = 1 << 20;
/// How many bytes are read or written at once.
const BUFFER: usize = 64 << 10;

/// A list of messages that is being written.
#[derive(Debug)]
pub struct SpoolWriter {
    file: BufWriter<SpooledTempFile>,
    buffer: Vec<u8>,
}

/// A list of messages that is being read.
#[derive(Debug)]
pub struct SpoolReader {
    file: BufReader<SpooledTempFile>,
    buffer: Vec<u8>,
}

impl Default for SpoolWriter {
    fn default() -> Self {
        let file = BufWriter::with_capacity(BUFFER, SpooledTempFile::new(IN_MEMORY));
        Self { file, buffer: Vec::new() }
    }
}

impl SpoolWriter {
    /// Adds a message.
    pub fn push(&mut self, message: &impl Message) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend(u32::try_from(message.encoded_len()).map_err(io::Error::other)?.to_le_bytes());
        message.encode(&mut self.buffer).map_err(io::Error::other)?;
        self.file.write_all(&self.buffer)
    }

    /// Reads it from its beginning.
    pub fn into_reader(self) -> io::Result<SpoolReader> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(SpoolReader { file: BufReader::with_capacity(BUFFER, file), buffer: self.buffer })
    }
}

impl SpoolReader {
    /// The next message; `None` at the end.
    pub fn read<M: Message + Default>(&mut self) -> io::Result<Option<M>> {
        let mut length = [0; 4];
        match self.file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        self.buffer.resize(u32::from_le_bytes(length) as usize, 0);
        self.file.read_exact(&mut self.buffer)?;
        M::decode(self.buffer.as_slice()).map(Some).map_err(io::Error::other)
    }

    /// So many of the next messages at most.
    pub fn take<M: Message + Default>(&mut self, most: usize) -> io::Result<Vec<M>> {
        let mut found = Vec::with_capacity(most);
        while found.len() < most
            && let Some(message) = self.read()?
        {
            found.push(message);
        }
        Ok(found)
    }

    /// Reads it again from its beginning.
    pub fn rewind(&mut self) -> io::Result<()> {
        self.file.rewind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spooled_is_read_in_its_order_however_often() {
        let mut writer = SpoolWriter::default();
        let text = |number: usize| format!("{number} {}", "x".repeat(number % 700));
        (0..5_000).for_each(|number| writer.push(&text(number)).unwrap());
        let mut reader = writer.into_reader().unwrap();
        for _ in 0..2 {
            let mut read = Vec::new();
            loop {
                let part: Vec<String> = reader.take(999).unwrap();
                if part.is_empty() {
                    break;
                }
                read.extend(part);
            }
            assert!(read.iter().enumerate().all(|(number, read)| *read == text(number)) && read.len() == 5_000);
            reader.rewind().unwrap();
        }
    }
}
