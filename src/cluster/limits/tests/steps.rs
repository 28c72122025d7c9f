//! Whatever happens in whatever order, the budget is kept and used up.

use std::time::Duration;

use proptest::prelude::*;

use super::World;

/// What may happen, each to the node of this number.
#[derive(Debug, Clone, Copy)]
enum Step {
    Sends(usize, u32),
    Leaves(usize),
    Calls(usize),
    Reaches(usize),
    Hears(usize),
    Loses(usize),
    Passes(u64),
}

fn step(nodes: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..nodes, 1_u32..60).prop_map(|(node, packets)| Step::Sends(node, packets)),
        1 => (0..nodes).prop_map(Step::Leaves),
        6 => (0..nodes).prop_map(Step::Calls),
        6 => (0..nodes).prop_map(Step::Reaches),
        6 => (0..nodes).prop_map(Step::Hears),
        1 => (0..nodes).prop_map(Step::Loses),
        2 => (0_u64..5000).prop_map(Step::Passes),
    ]
}

fn play(world: &mut World, step: Step) {
    let now = world.now;
    match step {
        Step::Sends(node, packets) => _ = world.sends(node, packets),
        Step::Leaves(node) => world.nodes[node].meters = None,
        Step::Calls(node) => world.nodes[node].calls(now),
        Step::Reaches(node) => world.nodes[node].reaches(&mut world.server),
        Step::Hears(node) => world.nodes[node].hears(now),
        Step::Loses(node) => world.nodes[node].loses(),
        Step::Passes(millis) => {
            world.pass(Duration::from_millis(millis));
            let now = world.now;
            world.nodes.iter_mut().for_each(|node| node.ledger.examine(now));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is late, lost or in another order: no more pass than the budget with what has refilled and the advances.
    /// Then, while some nodes have demand, they get all of it but for the four percent that idle nodes may keep.
    #[test]
    fn the_budget_is_kept_and_used_up(
        (nodes, steps) in (1_usize..5).prop_flat_map(|nodes| (Just(nodes), prop::collection::vec(step(nodes), 0..150))),
        messages in prop_oneof![1_u32..10, 50_u32..400],
        demand in 1_usize..5,
    ) {
        let per = Duration::from_hours(24);
        let mut world = World::new(nodes, messages, per);
        let advances = u32::try_from(nodes).unwrap() * (messages / 100).max(1);
        let most = |world: &World| {
            let refilled = (world.now - world.began).as_secs_f64() * f64::from(messages) / per.as_secs_f64();
            messages + refilled as u32 + advances
        };
        for step in steps {
            play(&mut world, step);
            prop_assert!(world.passed() <= most(&world), "{} passed, {} may", world.passed(), most(&world));
        }
        for node in &mut world.nodes {
            node.loses();
        }
        let all: Vec<_> = (0..nodes).collect();
        for _ in 0..250 {
            world.tick(&all, 1);
            (0..demand.min(nodes)).for_each(|node| _ = world.sends(node, 7));
            prop_assert!(world.passed() <= most(&world), "{} passed, {} may", world.passed(), most(&world));
        }
        prop_assert!(world.passed() >= messages - messages / 25, "only {} of {messages} passed", world.passed());
    }
}
