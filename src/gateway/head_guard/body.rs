//! Follows the body of a request to its end, so that the guard knows where the next head begins (RFC 9112 §6, §7.1).

use super::error::HeadError;

/// Digits of a chunk size: enough for 64 bits. Implementations differ in how many leading zeros they accept.
const SIZE_DIGITS_MAX: u8 = 16;
/// Bytes of one chunk extension. Real clients send none.
const EXTENSION_BYTES_MAX: u16 = 256;

/// How the body of a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// It has none.
    None,
    /// After so many bytes.
    Length(u64),
    /// With an empty chunk.
    Chunked,
}

/// The position within a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyTracker(Place);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Length { left: u64 },
    Chunked(Chunk),
    End,
}

/// Where in a chunked body: each variant is what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    FirstDigit,
    Size { size: u64, digits: u8 },
    Extension { size: u64, len: u16 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    LastCr,
    LastLf,
}

impl BodyTracker {
    /// At the first byte of a body.
    #[must_use]
    pub const fn new(framing: BodyFraming) -> Self {
        Self(match framing {
            BodyFraming::None | BodyFraming::Length(0) => Place::End,
            BodyFraming::Length(left) => Place::Length { left },
            BodyFraming::Chunked => Place::Chunked(Chunk::FirstDigit),
        })
    }

    /// The body has ended; what follows is another request.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.0, Place::End)
    }

    /// How many of `bytes` belong to this body: all of them, or those up to its end.
    ///
    /// # Errors
    /// [`HeadError::Chunk`]: no byte of `bytes` may be used.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, HeadError> {
        let mut used = 0;
        while used < bytes.len() {
            self.0 = match self.0 {
                Place::End => break,
                Place::Length { left } => {
                    let left = take(left, bytes, &mut used);
                    if left == 0 { Place::End } else { Place::Length { left } }
                }
                Place::Chunked(Chunk::Data { left }) => {
                    let left = take(left, bytes, &mut used);
                    Place::Chunked(if left == 0 { Chunk::DataCr } else { Chunk::Data { left } })
                }
                Place::Chunked(chunk) => {
                    used += 1;
                    chunk.after(bytes[used - 1])?
                }
            };
        }
        Ok(used)
    }
}

/// Takes what is there of `left` bytes; returns how many are still to come.
fn take(left: u64, bytes: &[u8], used: &mut usize) -> u64 {
    let there = (bytes.len() - *used) as u64;
    let taken = left.min(there);
    // At most `bytes.len()`, so it fits.
    *used += taken as usize;
    left - taken
}

impl Chunk {
    /// Where one byte of the framing leads.
    fn after(self, byte: u8) -> Result<Place, HeadError> {
        let next = match (self, byte) {
            (Self::FirstDigit, _) => Self::Size { size: hex(byte)?, digits: 1 },
            (Self::Size { size, .. } | Self::Extension { size, .. }, b'\r') => Self::SizeLf { size },
            (Self::Size { size, .. }, b';') => Self::Extension { size, len: 0 },
            (Self::Size { size, digits }, _) if digits < SIZE_DIGITS_MAX => {
                let size = size.checked_mul(16).filter(|&size| i64::try_from(size).is_ok()).ok_or(HeadError::Chunk)?;
                Self::Size { size: size + hex(byte)?, digits: digits + 1 }
            }
            (Self::Extension { size, len }, b' '..=b'~' | b'\t') if len < EXTENSION_BYTES_MAX => {
                Self::Extension { size, len: len + 1 }
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::LastCr,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::FirstDigit,
            (Self::LastCr, b'\r') => Self::LastLf,
            (Self::LastLf, b'\n') => return Ok(Place::End),
            _ => return Err(HeadError::Chunk),
        };
        Ok(Place::Chunked(next))
    }
}

fn hex(byte: u8) -> Result<u64, HeadError> {
    char::from(byte).to_digit(16).map(u64::from).ok_or(HeadError::Chunk)
}

#[cfg(test)]
mod tests;
