//! A frame that goes on with another head than it came with.

use super::{BrokenRule, FrameHandling, FrameInProgress, Inflow, PEEK_BYTES, unmask};
use crate::{
    relay::batch::Batch,
    wire::{
        json::check::{JsonBounds, JsonCheck},
        socketio::canonical::{CanonicalHead, HEAD_BYTES_MAX},
        websocket::{
            frame::{FrameHeader, HEADER_BYTES_MAX, OpCode},
            mask,
        },
    },
};

impl Inflow {
    /// Keeps the frame that [`next`](Inflow::next) showed, with `head` in place of the beginning that it stands for. The rest
    /// stays as it came: where it is masked, the mask is turned by as many bytes as the frame is shorter.
    #[cold]
    pub(super) fn pass_as(
        &mut self,
        header: &FrameHeader,
        batch: &mut Batch<'_>,
        head: CanonicalHead,
        json: Option<JsonBounds>,
    ) -> Result<(), BrokenRule> {
        // All of it was shown, or nobody could say what it stands for.
        let replaced = head.replaces().min(PEEK_BYTES);
        let mut shown = [0; PEEK_BYTES];
        unmask(&batch.ahead()[header.header_len..][..replaced], header, &mut shown[..replaced]);
        let head = head.written(&shown[..replaced]);
        let head = head.as_bytes();
        let shorter = replaced.saturating_sub(head.len());
        let key = header.mask.map(|mut key| {
            key.rotate_left(shorter % 4);
            key
        });
        let payload_len = header.payload_len - shorter as u64;
        let (begin, begin_len) = FrameHeader::written(header.opcode, payload_len, key);
        let mut by = [0; HEADER_BYTES_MAX + HEAD_BYTES_MAX];
        let by = &mut by[..begin_len + head.len()];
        by[..begin_len].copy_from_slice(&begin[..begin_len]);
        by[begin_len..].copy_from_slice(head);
        if let Some(key) = key {
            mask::apply(&mut by[begin_len..], key, 0);
        }
        batch.replace(header.header_len + replaced, by);
        let shown_whole = header.payload_len <= PEEK_BYTES as u64;
        self.frame = FrameInProgress {
            remaining: header.payload_len - replaced as u64,
            offset: replaced,
            mask: header.mask,
            handling: FrameHandling::Keep,
            // What was shown whole has been checked, and a head that was read is text up to its end.
            text: header.opcode == OpCode::Text && !shown_whole,
            fin: header.fin,
            json: json.map(|bounds| (replaced, JsonCheck::new(bounds))),
        };
        self.scan.accept(header);
        self.pass_on(batch)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        relay::{
            batch::Batch,
            inflow::{Ahead, BrokenRule, Inflow, shown},
        },
        session::message::Fate,
        wire::{
            json::check::{JsonBounds, JsonFault, JsonReading},
            socketio::{canonical::CanonicalHead, packet::PEEK_BYTES, peek::peek_client},
            websocket::{
                frame::{FrameHeader, OpCode, Sender},
                mask,
            },
        },
    };

    const KEY: [u8; 4] = [7, 0x96, 5, 0xa4];

    fn frame(text: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        FrameHeader::encode(OpCode::Text, text.len() as u64, Some(KEY), &mut frame);
        let at = frame.len();
        frame.extend(text.as_bytes());
        mask::apply(&mut frame[at..], KEY, 0);
        frame
    }

    /// The texts of these frames.
    fn texts(mut frames: &[u8]) -> Vec<String> {
        let mut texts = Vec::new();
        while !frames.is_empty() {
            let header = FrameHeader::parse(frames, Sender::Client).unwrap().unwrap();
            let (frame, rest) = frames.split_at(header.header_len + usize::try_from(header.payload_len).unwrap());
            let mut text = frame[header.header_len..].to_vec();
            mask::apply(&mut text, header.mask.unwrap(), 0);
            texts.push(String::from_utf8(text).unwrap());
            frames = rest;
        }
        texts
    }

    /// What passes of `bytes` in pieces of `size`, where each packet has its canonical head.
    fn passed(bytes: &[u8], size: usize) -> Result<Vec<u8>, BrokenRule> {
        let bounds = JsonBounds::new(JsonReading::Full, 8).unwrap();
        let mut inflow = Inflow::new(Sender::Client, 100_000, false);
        let (mut peek, mut kept, mut buffer) = ([0; PEEK_BYTES], Vec::new(), vec![0; 200_000]);
        for piece in bytes.chunks(size) {
            let carried = inflow.take_carry(&mut buffer);
            buffer[carried..carried + piece.len()].copy_from_slice(piece);
            let mut batch = Batch::new(&mut buffer[..carried + piece.len()]);
            while let Some(found) = inflow.next(&mut batch, &mut peek)? {
                let Ahead::Head { header, len, complete } = found else { panic!("{found:?}") };
                let head = peek_client(shown(&header, len, &batch, &peek), complete).unwrap();
                let fate = match head.is_canonical {
                    true => Fate::Pass,
                    false => Fate::PassAs(CanonicalHead::of(&head), (!complete).then_some(bounds)),
                };
                inflow.decide(&header, &mut batch, fate)?;
            }
            kept.extend_from_slice(batch.kept());
        }
        Ok(kept)
    }

    #[test]
    fn frames_go_on_with_their_canonical_heads_wherever_they_are_cut() {
        let long = |len: usize| "x".repeat(len);
        let rows: Vec<(String, String)> =
            [0, 1, 100, 113, 114, 115, 116, 117, 118, 119, 120, 2000, 65_519, 65_520, 65_530]
                .into_iter()
                .flat_map(|len| {
                    let pad = long(len);
                    [
                        (format!(r#"42/,["q","{pad}é"]"#), format!(r#"42["q","{pad}é"]"#)),
                        (format!(r#"42007["q","{pad}"]"#), format!(r#"427["q","{pad}"]"#)),
                        (format!(r#"42/é,00000 ["q","{pad}"]"#), format!(r#"42/é,0["q","{pad}"]"#)),
                        (format!(r#"42["as it is","{pad}"]"#), format!(r#"42["as it is","{pad}"]"#)),
                    ]
                })
                .collect();
        let bytes: Vec<u8> = rows.iter().flat_map(|(said, _)| frame(said)).collect();
        for size in [1000, 4096, 65_536, bytes.len()] {
            let texts = texts(&passed(&bytes[..], size.min(100_000)).unwrap());
            assert_eq!(texts.len(), rows.len(), "pieces of {size}");
            for (text, (said, expected)) in texts.iter().zip(&rows) {
                assert!(text == expected, "{:.40}… became {text:.40}…", said);
            }
        }
        let small: Vec<u8> = rows[..44].iter().flat_map(|(said, _)| frame(said)).collect();
        for size in 1..40 {
            let expected: Vec<_> = rows[..44].iter().map(|(_, expected)| expected.clone()).collect();
            assert_eq!(texts(&passed(&small, size).unwrap()), expected, "pieces of {size}");
        }
    }

    #[test]
    fn behind_another_head_text_and_json_are_checked_as_they_pass() {
        let pad = "x".repeat(3000);
        let rows = [
            (format!(r#"42/,["q","{pad}",[1]] "#), Ok(())),
            (format!(r#"42/,["q","{pad}",[1]]]"#), Err(JsonFault::Grammar.into())),
            (format!(r#"42/,["q","{pad}""#), Err(JsonFault::Grammar.into())),
        ];
        for (text, expected) in rows {
            for size in [1, 999, 4000] {
                assert_eq!(passed(&frame(&text), size).map(drop), expected, "{text} in pieces of {size}");
            }
        }
        let mut wrong = frame(&format!(r#"42/,["q","{pad}"]"#));
        let end = wrong.len() - 3;
        wrong[end] ^= 0x80;
        assert!(matches!(passed(&wrong, 500), Err(BrokenRule::Frame(_))), "text is UTF-8");
    }
}
