//! What targets share: JSON read by another reader, and the layout of an input that comes in pieces, whose first five
//! bytes say how a target treats the rest. The fuzzer chooses them too.

pub mod json;

/// The input of a fuzz target.
pub struct Input<'a> {
    /// Choices of the target.
    pub options: u8,
    /// One less than the bytes of a piece, four pieces in turn.
    sizes: [u8; 4],
    /// What is to be read.
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// `None`: it is too short for these five bytes.
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let (&[options, ref sizes @ ..], bytes) = data.split_first_chunk::<5>()?;
        Some(Self { options, sizes: *sizes, bytes })
    }

    /// 1 to 256, repeated.
    pub fn sizes(&self) -> impl Iterator<Item = usize> + use<> {
        self.sizes.into_iter().map(|size| usize::from(size) + 1).cycle()
    }

    /// These bytes in pieces, as from a socket.
    pub fn pieces<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let mut sizes = self.sizes();
        let mut rest = bytes;
        std::iter::from_fn(move || {
            let size = sizes.next()?.min(rest.len());
            rest.split_off(..size).filter(|piece| !piece.is_empty())
        })
    }
}
