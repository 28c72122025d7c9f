//! How a target treats its input: the first five bytes say so, and the fuzzer chooses them too.

/// What a fuzzer has come up with.
pub struct Input<'a> {
    /// For the target to choose by.
    pub options: u8,
    /// One less than the bytes of a piece, four pieces in turn.
    sizes: [u8; 4],
    /// What is to be read.
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// None: it is too short to say how it is to be treated.
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let (&[options, ref sizes @ ..], bytes) = data.split_first_chunk::<5>()?;
        Some(Self { options, sizes: *sizes, bytes })
    }

    /// 1 to 256, again and again.
    pub fn sizes(&self) -> impl Iterator<Item = usize> + use<> {
        self.sizes.into_iter().map(|size| usize::from(size) + 1).cycle()
    }

    /// These bytes as they might come from a socket.
    pub fn pieces<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let mut sizes = self.sizes();
        let mut rest = bytes;
        std::iter::from_fn(move || {
            let size = sizes.next()?.min(rest.len());
            rest.split_off(..size).filter(|piece| !piece.is_empty())
        })
    }
}
