//! The placeholders of attachments (socket.io-protocol v5, "Packets with binary attachments"): whether each names one.

use super::{
    Scanner,
    check::{DEPTH_MAX, JsonFault},
};

/// The member that makes an object a placeholder, ...
const MARK: &str = "_placeholder";

/// ... and the one that numbers its attachment.
const NUMBER: &str = "num";

/// Whether each placeholder in the payload of a packet names one of so many attachments, as `socket.io-parser` reads it. A
/// service that does not check finds nothing in its place.
///
/// # Errors
/// One does not; or the text is not JSON, or is nested deeper than [`DEPTH_MAX`].
pub fn check_placeholders(text: &[u8], attachments: u8) -> Result<(), JsonFault> {
    let mut scanner = Scanner { text, at: 0 };
    match scanner.placeholders_fit(DEPTH_MAX, attachments) {
        Some(true) if scanner.at == text.len() => Ok(()),
        Some(false) => Err(JsonFault::Placeholder),
        Some(true) | None => Err(JsonFault::Grammar),
    }
}

impl Scanner<'_> {
    /// Passes over one value. False: a placeholder in it names no attachment. `None`: it is malformed. Each level is a
    /// call.
    fn placeholders_fit(&mut self, levels: u32, attachments: u8) -> Option<bool> {
        let (end, is_object) = match self.peek()? {
            b'{' => (b'}', true),
            b'[' => (b']', false),
            _ => return self.skip_value().map(|()| true),
        };
        let levels = levels.checked_sub(1)?;
        self.at += 1;
        if self.ends_at_once(end) {
            return Some(true);
        }
        let (mut all_fit, mut marked, mut numbered) = (true, false, false);
        loop {
            let name = if is_object { self.name()?.decode() } else { None };
            let begin = self.at;
            all_fit &= self.placeholders_fit(levels, attachments)?;
            let value = &self.text[begin..self.at];
            // Of two members with one name JavaScript takes the last.
            match name.as_deref() {
                Some(MARK) => marked = value == b"true",
                Some(NUMBER) => numbered = names_attachment(value, attachments),
                _ => {}
            }
            self.skip_space();
            match self.next()? {
                b',' => self.skip_space(),
                // Inside of a placeholder nothing else is looked for.
                byte if byte == end => return Some(if marked { numbered } else { all_fit }),
                _ => return None,
            }
        }
    }
}

/// Whether a JSON value is the number of an attachment, in whatever spelling: JavaScript has one kind of number.
fn names_attachment(value: &[u8], attachments: u8) -> bool {
    let number = std::str::from_utf8(value).ok().and_then(|number| number.parse::<f64>().ok());
    number.is_some_and(|number| (0.0..f64::from(attachments)).contains(&number) && number.fract() == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_names_an_attachment_of_its_packet() {
        let rows = [
            (r#"["e",{"_placeholder":true,"num":0}]"#, true),
            (r#"["e",{"a":[{"num":1,"_placeholder":true}]},{"_placeholder":true,"num":0}]"#, true),
            (r#"["e",{ "_placeholder" : true , "num" : 1 }]"#, true),
            (r#"["e",{"_placeholder":true,"num":1e0},{"_placeholder":true,"num":-0}]"#, true),
            (r#"["e",{"_placeholder":true,"num":2}]"#, false),
            (r#"["e",{"_placeholder":true,"num":-1}]"#, false),
            (r#"["e",{"_placeholder":true,"num":0.5}]"#, false),
            (r#"["e",{"_placeholder":true,"num":1e999}]"#, false),
            (r#"["e",{"_placeholder":true,"num":"0"}]"#, false),
            (r#"["e",{"_placeholder":true,"num":[0]}]"#, false),
            (r#"["e",{"_placeholder":true,"num":null}]"#, false),
            (r#"["e",{"_placeholder":true}]"#, false),
            (r#"["e",{"\u005fplaceholder":true,"n\u0075m":9}]"#, false),
            (r#"["e",{"a":{"b":[{"_placeholder":true,"num":9}]}}]"#, false),
            (r#"[{"_placeholder":true,"num":9}]"#, false),
            // The last of two counts.
            (r#"["e",{"_placeholder":true,"num":9,"num":0}]"#, true),
            (r#"["e",{"_placeholder":true,"num":0,"num":9}]"#, false),
            (r#"["e",{"_placeholder":true,"num":9,"_placeholder":false}]"#, true),
            // These are none.
            (r#"["e",{"_placeholder":1,"num":9},{"_placeholder":"true","num":9},{"num":9},"_placeholder"]"#, true),
            (r#"["e",{"Placeholder":true,"num":9}]"#, true),
            // The whole object is taken for the attachment.
            (r#"["e",{"_placeholder":true,"num":0,"a":{"_placeholder":true,"num":9}}]"#, true),
            ("[]", true),
        ];
        for (text, fits) in rows {
            let expected = if fits { Ok(()) } else { Err(JsonFault::Placeholder) };
            assert_eq!(check_placeholders(text.as_bytes(), 2), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_without_a_stack() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(check_placeholders(deep(64).as_bytes(), 1), Ok(()));
        for text in [&deep(65), &deep(50_000), "[", "[1,]", "{1:2}", "[1]]", "", "[01]"] {
            assert_eq!(check_placeholders(text.as_bytes(), 1), Err(JsonFault::Grammar), "{text}");
        }
    }
}
