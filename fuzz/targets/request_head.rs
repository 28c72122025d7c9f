//! Request heads and the bodies behind them: however they are cut they end at the same byte, and httparse, which hyper
//! uses, reads the same in every head that is admitted.
#![no_main]

use std::iter;

use httparse::{EMPTY_HEADER, Request, Status, parse_chunk_size};
use libfuzzer_sys::fuzz_target;
use tidegate::gateway::head_guard::{
    HeadError,
    body::{BodyFraming, BodyTracker},
    head::{Head, HeadScan, judge_head},
};
use tidegate_fuzz::Input;

const FIELDS_MAX: usize = 100;

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else { return };
    let head_bytes_max = 16 * (usize::from(input.options) + 1);
    let end = HeadScan::default().end(input.bytes, head_bytes_max);
    assert_eq!(end, end_in_pieces(&input, head_bytes_max));
    let Ok(Some(end)) = end else { return };
    assert!(end <= head_bytes_max);
    let (head_bytes, rest) = input.bytes.split_at(end);
    let Ok(head) = judge_head(head_bytes, FIELDS_MAX) else { return };
    assert_eq!(head, httparse_head(head_bytes, head.upgrade));

    let end = body_end(head.body, iter::once(rest));
    assert_eq!(end, body_end(head.body, input.pieces(rest)));
    if let Ok(Some(end)) = end {
        assert_eq!(Some(end), httparse_body_end(head.body, rest));
    }
});

fn end_in_pieces(input: &Input<'_>, head_bytes_max: usize) -> Result<Option<usize>, HeadError> {
    let (mut scan, mut here) = (HeadScan::default(), 0);
    for piece in input.pieces(input.bytes) {
        here += piece.len();
        if let Some(end) = scan.end(&input.bytes[..here], head_bytes_max)? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

/// Where a body ends that comes in these pieces. `None`: it goes on behind them.
fn body_end<'a>(framing: BodyFraming, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Option<usize>, HeadError> {
    let (mut body, mut end) = (BodyTracker::new(framing), 0);
    for piece in pieces {
        end += body.advance(piece)?;
        if body.is_complete() {
            break;
        }
    }
    Ok(body.is_complete().then_some(end))
}

/// The head as httparse reads it.
fn httparse_head(bytes: &[u8], upgrade: bool) -> Head {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    assert_eq!(request.parse(bytes), Ok(Status::Complete(bytes.len())));
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(request.headers.len() + 2, lines, "every line is one field");

    let value = |name: &str| {
        let mut values = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let value = values.next().map(|field| str::from_utf8(field.value).expect("only digits or a word are admitted"));
        assert!(values.next().is_none(), "{name} is there once");
        value
    };
    let length = value("content-length").map(|length| length.parse().expect("only digits are admitted"));
    let body = match (length, value("transfer-encoding")) {
        (None | Some(0), None) => BodyFraming::None,
        (Some(length), None) => BodyFraming::Length(length),
        (None, Some("chunked")) => BodyFraming::Chunked,
        other => panic!("{other:?} was admitted"),
    };
    Head { body, upgrade }
}

/// Where the body ends by httparse's reading of chunk sizes.
fn httparse_body_end(framing: BodyFraming, bytes: &[u8]) -> Option<usize> {
    match framing {
        BodyFraming::None => return Some(0),
        BodyFraming::Length(length) => return usize::try_from(length).ok(),
        BodyFraming::Chunked => {}
    }
    let mut at = 0;
    loop {
        let Ok(Status::Complete((line, size))) = parse_chunk_size(&bytes[at..]) else { return None };
        // Every chunk, including the last, is followed by an empty line.
        at += line + usize::try_from(size).ok()?;
        at = bytes.get(at..)?.starts_with(b"\r\n").then_some(at + 2)?;
        if size == 0 {
            return Some(at);
        }
    }
}
