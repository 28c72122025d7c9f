//! The session on its interface, with both of its ends, a clock and a network of the test: everything that happens is
//! drawn from one seed, and what must hold is looked at after each step.
//!
//! `TIDEGATE_SEED=7 cargo nextest run --test simulation` plays one seed again, and `TIDEGATE_SEED=7..9` two.
#![allow(unreachable_pub)]
#![expect(clippy::expect_used, clippy::unreachable, reason = "what cannot be fails the test")]

mod actions;
mod chance;
mod checks;
mod device;
mod ledger;
mod legs;
mod node;
mod packets;
mod service;
mod settings;
mod steps;
mod trace;
mod world;

use std::{
    env, fs,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
};

use steps::STEPS;
use world::World;

/// So many lines are shown of a run that failed, unless it is played again.
const SHOWN: usize = 60;

/// Plays one seed. The hash of everything that has happened, or what went wrong.
fn play(seed: u64, shown: usize) -> Result<u64, String> {
    let mut world = World::new(seed, shown);
    let played = catch_unwind(AssertUnwindSafe(|| world.run(STEPS)));
    let trace = &world.trace;
    played.map(|()| trace.hash()).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let (lines, step) = (trace.shown(), trace.steps());
        format!(
            "{lines}\nseed {seed} fails at step {step}: {text}\n\
             again: TIDEGATE_SEED={seed} cargo nextest run --locked --test simulation --no-capture\n"
        )
    })
}

/// Plays these seeds on every processor, and fails with the first that fails.
fn play_all(seeds: std::ops::Range<u64>, shown: usize) {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let failed: Vec<String> = thread::scope(|scope| {
        let play_some = || {
            while !stop.load(Relaxed) {
                let seed = next.fetch_add(1, Relaxed);
                if seed >= seeds.end {
                    break;
                }
                if let Err(report) = play(seed, shown) {
                    stop.store(true, Relaxed);
                    return Some(report);
                }
            }
            None
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(play_some)).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("a thread of the test has panicked")).collect()
    });
    assert!(failed.is_empty(), "{}", failed[0]);
}

#[test]
fn every_seed_keeps_the_promises_of_a_session() {
    if let Ok(seed) = env::var("TIDEGATE_SEED") {
        let number = |seed: &str| seed.parse::<u64>().expect("TIDEGATE_SEED is a number, or two with .. between");
        return match seed.split_once("..") {
            Some((first, end)) => play_all(number(first)..number(end), SHOWN),
            None => play_all(number(&seed)..number(&seed) + 1, usize::MAX),
        };
    }
    play_all(0..if env::var_os("TIDEGATE_LONG").is_some() { 10_000 } else { 200 }, SHOWN);
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in [1, 2, 3] {
        assert_eq!(play(seed, SHOWN), play(seed, SHOWN));
    }
}

/// `scripts/planted-bugs` shows that the simulation notices each of them.
#[test]
fn each_planted_bug_can_be_planted() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let patches = fs::read_dir(tree.join("tests/simulation/planted")).expect("the folder is there");
    let patches: Vec<_> = patches.map(|patch| patch.expect("the folder can be read").path()).collect();
    assert!(patches.len() >= 10, "{patches:?}");
    for patch in patches {
        let mut git = Command::new("git");
        // The tree may lie in a repository that does not know it.
        git.current_dir(tree).env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree));
        match git.args(["apply", "--check"]).arg(&patch).output() {
            Ok(checked) => assert!(
                checked.status.success(),
                "{} must be made anew: {}",
                patch.display(),
                String::from_utf8_lossy(&checked.stderr)
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => return println!("not checked: there is no git"),
            Err(error) => panic!("git cannot be run: {error}"),
        }
    }
}
