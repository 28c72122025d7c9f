//! Which sessions end where all together keep too much, and how they are listed.

use super::*;
use crate::{
    observe::{
        Exposition,
        overview::{Moment, Overview},
    },
    policy::identity::Identity,
    relay::{
        listing::{Matches, Query, Scan, Search, Sort},
        tests::world::{beginning, worker},
    },
    session::quality::Quality,
};

/// Sessions that keep so many bytes each.
fn keeping(worker: &Rc<Worker>, bytes: &[usize]) -> Vec<Rc<SessionCell>> {
    let open = |bytes: &usize| {
        let now = worker.clock.now();
        let session = Session::plain(beginning(worker), Arc::default(), None, Identity::anonymous(), now);
        let cell = worker.open(session, None, None);
        worker.keeps(&cell, *bytes, usize::MAX);
        cell
    };
    bytes.iter().map(open).collect()
}

fn ended(cells: &[Rc<SessionCell>]) -> Vec<bool> {
    cells.iter().map(|cell| cell.shortage.get().is_some()).collect()
}

#[test]
fn the_session_that_keeps_most_ends_for_the_one_that_asks_for_too_much() {
    let worker = worker(([127, 0, 0, 1], 1).into(), 100);
    let cells = keeping(&worker, &[100_000, 900_000, 50_000]);
    worker.keeps(&cells[0], 110_000, 1_060_000);
    assert_eq!(ended(&cells), [false; 3], "there is room");
    worker.keeps(&cells[0], 111_000, 1_060_000);
    assert_eq!(ended(&cells), [false, true, false]);
    assert_eq!(worker.memory.sessions(), 161_000, "what ends counts no more");
    worker.keeps(&cells[1], 900_000, 1_060_000);
    worker.keeps(&cells[0], 112_000, 1_060_000);
    assert_eq!((ended(&cells), worker.memory.sessions()), (vec![false, true, false], 162_000));
    cells.iter().for_each(|cell| worker.forget(cell));
    assert_eq!(worker.memory.sessions(), 0);
}

#[test]
fn a_session_that_keeps_little_or_less_than_before_ends_for_nobody() {
    let worker = worker(([127, 0, 0, 1], 1).into(), 100);
    let cells = keeping(&worker, &[memory::DEAR_BYTES, 10_000, 20_000]);
    worker.keeps(&cells[2], 19_000, 100);
    worker.keeps(&cells[2], 15_000, 10_000_000_000);
    worker.run(WorkerCommand::Shed { bytes: 1_000_000 });
    assert_eq!(ended(&cells), [false; 3]);
}

#[test]
fn as_many_end_as_must_the_dearest_first() {
    let worker = worker(([127, 0, 0, 1], 1).into(), 100);
    let cells = keeping(&worker, &[200_000, 900_000, 300_000, 800_000]);
    worker.run(WorkerCommand::Shed { bytes: 1_000_000 });
    assert_eq!(ended(&cells), [false, true, false, true]);
}

#[test]
fn a_long_list_is_made_in_slices_and_others_have_their_turn_in_between() {
    let worker = worker(([127, 0, 0, 1], 1).into(), 100);
    let cells = keeping(&worker, &[0; 600]);
    for (at, packets) in [(10, 5), (300, 9), (599, 7)] {
        cells[at].packets.set((packets, 0));
    }
    let query =
        |sort| Arc::new(Query { sort, descending: true, search: Search::default(), after: 0, skip: 1, limit: 2 });
    for (sort, expected) in [(Sort::Received, [599, 10]), (Sort::Id, [598, 597])] {
        let (mut scan, mut slices) = (Scan::new(query(sort)), 0);
        while !scan.is_done() {
            scan = worker.scan(scan);
            slices += 1;
        }
        let mut listed = Matches::default();
        listed.add(scan);
        assert_eq!((slices, listed.total), (3, 600), "{sort:?}");
        assert_eq!(listed.ids(&query(sort)), expected.map(|at: usize| cells[at].id), "{sort:?}");
    }
    for (after, skip, limit, expected, in_slices) in [
        (0, 0, 100, Some((0, 99)), 1),
        (0, 256, 256, Some((256, 511)), 2),
        (0, 500, 50, Some((500, 549)), 3),
        (0, 550, 100, Some((550, 599)), 3),
        (cells[499].id, 0, 300, Some((500, 599)), 1),
        (0, 600, 100, None, 3),
    ] {
        let query = Arc::new(Query { descending: false, after, skip, limit, ..Query::clone(&query(Sort::Id)) });
        let (mut scan, mut slices) = (Scan::new(Arc::clone(&query)), 0);
        while !scan.is_done() {
            scan = worker.scan(scan);
            slices += 1;
        }
        let mut listed = Matches::default();
        listed.add(scan);
        assert_eq!((slices, listed.total), (in_slices, 600), "{query:?}");
        let ids = listed.ids(&query);
        let ends = ids.first().zip(ids.last()).map(|(first, last)| (*first, *last));
        assert_eq!(ends, expected.map(|(first, last): (usize, usize)| (cells[first].id, cells[last].id)), "{query:?}");
    }
    let shown = worker.show(&[cells[3].id, 0]);
    assert_eq!(shown.iter().map(|session| session.id).collect::<Vec<_>>(), [cells[3].id], "others are not here");
    cells.iter().for_each(|cell| worker.forget(cell));
}

#[test]
fn each_grade_is_counted_under_its_own_name() {
    let worker = worker(([127, 0, 0, 1], 1).into(), 100);
    let grades = [Quality::Excellent, Quality::Good, Quality::Fair, Quality::Poor];
    // One session of the first grade, two of the second, and so on.
    for (at, grade) in grades.into_iter().enumerate() {
        keeping(&worker, &vec![0; at + 1]).iter().for_each(|cell| cell.quality.set(Some(grade)));
    }
    worker.look_after_sessions(worker.clock.now());
    let tallies = vec![Arc::clone(&worker.tally)];
    let moment = Moment { instant: Instant::now(), wall: std::time::SystemTime::now() };
    let figures = Overview::new(tallies.clone(), Arc::default()).figures(moment);
    let figures = serde_json::to_value(figures).unwrap();
    let metrics = Exposition::new(tallies, Arc::clone(&worker.rules().session.names), Arc::default(), None).render();
    for (at, grade) in grades.into_iter().enumerate() {
        let (name, count) = (grade.name(), at + 1);
        assert_eq!(figures["sessions"]["by_quality"][name], count, "{name} in /status");
        let line = format!("tidegate_sessions{{transport=\"websocket\",quality=\"{name}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert_eq!(figures["sessions"]["by_quality"]["unknown"], 0);
}
