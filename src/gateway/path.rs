//! What the path of a request can mean: as it is written, and to readers that decode it, fold it, or both.
//!
//! Node's engine compares the bytes of a path. Other services, and proxies before them, decode `%2F`, take a backslash for
//! a slash, merge slashes, resolve `..`, or cut `;` and what follows it, each in its own order. A path may mean an endpoint
//! of the gate if any of them can read it so.

/// A path, and how readers that decode and fold as much as they can read it.
#[derive(Debug)]
pub(super) struct Readings<'a> {
    written: &'a str,
    /// `None`: there is one reading.
    folded: Option<Folded>,
}

/// The segments that a path has once everything is decoded that can be, cut wherever a reader might cut.
#[derive(Debug)]
struct Folded {
    segments: Vec<Vec<u8>>,
    /// One of them is `..`, or a `;` may hide a slash behind it. Which segments are left depends on the order in which a
    /// reader cuts and decodes.
    climbs: bool,
    /// The path ends with a slash, or with a segment that stands for nothing.
    ends_with_slash: bool,
}

impl<'a> Readings<'a> {
    /// Of a path that begins with a slash.
    pub(super) fn of(path: &'a str) -> Self {
        Self { written: path, folded: (!is_plain(path.as_bytes())).then(|| Folded::of(path.as_bytes())) }
    }

    /// As it is written: the only reading there is, or one of several.
    pub(super) const fn written(&self) -> &'a str {
        self.written
    }

    /// The other reading, if there is one.
    pub(super) fn folded(&self) -> Option<String> {
        let folded = self.folded.as_ref()?;
        let mut path: String = folded.segments.iter().map(|one| format!("/{}", String::from_utf8_lossy(one))).collect();
        if folded.ends_with_slash || path.is_empty() {
            path.push('/');
        }
        Some(path)
    }

    /// Whether it has a segment `..`, for one reader at least, or another one that some do not see.
    pub(super) fn climbs(&self) -> bool {
        self.folded.as_ref().is_some_and(|folded| folded.climbs)
    }

    /// Whether a reader may find `endpoint` at its beginning: segments, of which the last may go on, because Node's engine
    /// compares a prefix. It is asked of the readings apart from the written one.
    pub(super) fn may_lead_to(&self, endpoint: &str) -> bool {
        let Some(Folded { segments, climbs, .. }) = &self.folded else { return false };
        let names: Vec<&[u8]> = endpoint.split('/').filter(|name| !name.is_empty()).map(str::as_bytes).collect();
        let mut found = 0;
        for segment in segments {
            let Some(name) = names.get(found) else { break };
            let is_last = found + 1 == names.len();
            if segment == name || (is_last && segment.starts_with(name)) {
                found += 1;
            } else if !climbs {
                // Where it climbs, any segment may become the first, and any two may become neighbours.
                return false;
            }
        }
        found == names.len()
    }
}

impl Folded {
    fn of(path: &[u8]) -> Self {
        let decoded = decode(path);
        let slashes = |text: &[u8]| text.iter().filter(|&&byte| matches!(byte, b'/' | b'\\')).count();
        let hides = decoded.contains(&b';') && slashes(&decoded) > path.iter().filter(|&&byte| byte == b'/').count();
        let mut folded = Self { segments: Vec::new(), climbs: hides, ends_with_slash: false };
        for segment in decoded.split(|&byte| matches!(byte, b'/' | b'\\')) {
            let segment = segment.split(|&byte| byte == b';').next().unwrap_or_default();
            folded.ends_with_slash = matches!(segment, b"" | b"." | b"..");
            folded.climbs |= segment == b"..";
            if !folded.ends_with_slash {
                folded.segments.push(segment.to_vec());
            }
        }
        folded
    }
}

/// Whether all readers read this path the same: nothing to decode or to fold.
pub(super) fn is_plain(path: &[u8]) -> bool {
    let empty_or_dots = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
    let within = path.strip_prefix(b"/").unwrap_or(path);
    let within = within.strip_suffix(b"/").unwrap_or(within);
    !path.iter().any(|byte| matches!(byte, b'%' | b'\\' | b';'))
        && (path.len() <= 1 || !within.split(|&byte| byte == b'/').any(empty_or_dots))
}

/// Whether a path of the configuration has one meaning: it is plain, apart from characters beyond ASCII that are encoded.
pub(super) fn is_canonical(path: &str) -> bool {
    let mut rest = path.as_bytes();
    let mut plain = Vec::with_capacity(rest.len());
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'%', [b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', low, tail @ ..]) if low.is_ascii_hexdigit() => tail,
            _ => {
                plain.push(*byte);
                tail
            }
        };
    }
    is_plain(&plain)
}

/// Decodes until nothing is left to decode: `%XX`, and `%uXXXX` as Microsoft's servers do. An escape that is decoded may
/// complete another one, so each byte is read once and what stands before it is looked at again.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    for &byte in path {
        decoded.push(byte);
        while let Some((escaped, len)) = last_escape(&decoded) {
            decoded.truncate(decoded.len() - len);
            decoded.push(escaped);
        }
    }
    decoded
}

/// The byte that the escape at the end of `text` stands for, and the length of the escape. A character beyond ASCII
/// is no byte of an endpoint's path, whichever it is.
fn last_escape(text: &[u8]) -> Option<(u8, usize)> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let number = |digits: &[u8]| digits.iter().try_fold(0, |number, &byte| Some(number * 16 + digit(byte)?));
    if let [.., b'%', high, low] = text {
        return u8::try_from(number(&[*high, *low])?).ok().map(|byte| (byte, 3));
    }
    match text.last_chunk::<6>()? {
        [b'%', b'u' | b'U', digits @ ..] => {
            let character = number(digits)?;
            Some((u8::try_from(character).ok().filter(u8::is_ascii).unwrap_or(0xff), 6))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
