//! The bytes of a pickle, counted.

use std::io::{self, Read};

use super::machine::Fault;

pub(super) struct Source<'a, R> {
    reader: &'a mut R,
    left: u64,
    at: u64,
    instruction: u64,
}

impl<'a, R: Read> Source<'a, R> {
    pub(super) fn new(reader: &'a mut R, limit: u64) -> Self {
        Source { reader, left: limit, at: 0, instruction: 0 }
    }

    /// Where the instruction begins that was fetched last.
    pub(super) fn instruction(&self) -> u64 {
        self.instruction
    }

    /// The next instruction.
    pub(super) fn opcode(&mut self) -> Result<u8, Fault> {
        self.instruction = self.at;
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.spend(N as u64)?;
        self.reader.read_exact(&mut bytes).map_err(early)?;
        Ok(bytes)
    }

    /// `length` bytes; memory is reserved as they arrive, whatever the pickle says.
    pub(super) fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Fault> {
        self.spend(length)?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes).map_err(Fault::Io)?;
        if bytes.len() as u64 != length {
            return Err(early(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }

    /// Passes over `length` bytes.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), Fault> {
        self.spend(length)?;
        let passed = io::copy(&mut self.reader.by_ref().take(length), &mut io::sink()).map_err(Fault::Io)?;
        if passed == length { Ok(()) } else { Err(early(io::ErrorKind::UnexpectedEof.into())) }
    }

    pub(super) fn text(&mut self, length: u64) -> Result<Box<str>, Fault> {
        text(self.bytes(length)?)
    }

    /// Up to a line feed, which is left out.
    pub(super) fn line(&mut self) -> Result<Box<str>, Fault> {
        let mut bytes = Vec::new();
        loop {
            match self.array::<1>()? {
                [b'\n'] => return text(bytes),
                [byte] => bytes.push(byte),
            }
        }
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| Fault::Bad("the pickle is too long".into()))?;
        self.at += bytes;
        Ok(())
    }
}

fn text(bytes: Vec<u8>) -> Result<Box<str>, Fault> {
    // Python 2 and the `surrogatepass` of Python 3 write bytes that are no UTF-8; a name with them is only shown.
    Ok(String::from_utf8(bytes).unwrap_or_else(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()).into())
}

fn early(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Bad("the pickle ends early".into()),
        _ => Fault::Io(error),
    }
}
