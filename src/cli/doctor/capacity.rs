//! Descriptors and memory of this process, which in a pod are those of the gate.

use super::finding::Finding;
use crate::{
    config::Config,
    start::survey::{DescriptorRoom, FirstDescriptors, MemoryLimit, descriptors, memory},
};

const DESCRIPTORS: &str = "descriptors";
const MEMORY: &str = "memory";

/// Of a limit, so much in use is near its end, in percent.
const NEARLY_FULL: u64 = 90;

pub(super) fn check(config: &Config, first: FirstDescriptors) -> Vec<Finding> {
    let room = descriptors(config, first);
    vec![judge_descriptors(&room, first.limit, config.limits.connections), judge_memory(&memory(config))]
}

/// `soft`: the limit with which this process has begun.
fn judge_descriptors(room: &DescriptorRoom, soft: Option<u64>, wanted: u32) -> Finding {
    if let Some(warning) = &room.warning {
        return Finding::warn(DESCRIPTORS, warning.as_str());
    }
    let raised = soft.filter(|soft| *soft < room.limit);
    let raised = raised.map_or_else(String::new, |soft| format!(", to which a node raises it from {soft}"));
    Finding::ok(
        DESCRIPTORS,
        format!("limits.connections is {wanted}, for which {} descriptors{raised} are enough", room.limit),
    )
}

fn judge_memory(limits: &[MemoryLimit]) -> Finding {
    let Some(MemoryLimit { name, bytes, used }) = limits.first() else {
        return Finding::skip(MEMORY, "no limit is known");
    };
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let found = format!("the tightest limit is {} ({name})", mib(*bytes));
    match used {
        None => Finding::ok(MEMORY, found),
        Some(used) if used.saturating_mul(100) > bytes.saturating_mul(NEARLY_FULL) => {
            Finding::warn(MEMORY, format!("{found}, and {} are in use", mib(*used)))
                .fix("give more memory, or lower limits.session_memory or limits.connections")
        }
        Some(used) => Finding::ok(MEMORY, format!("{found}, of which {} are in use", mib(*used))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Status;

    #[test]
    fn descriptors_are_enough_or_it_is_told_how_many_are_needed() {
        let room = DescriptorRoom { limit: 1_048_576, connections: 20_000, warning: None };
        let enough = judge_descriptors(&room, Some(1024), 20_000);
        assert_eq!(enough.status, Status::Ok);
        assert!(
            enough.found.ends_with("1048576 descriptors, to which a node raises it from 1024 are enough"),
            "{enough:?}"
        );
        let few = DescriptorRoom { limit: 1024, connections: 400, warning: Some("too few".to_owned()) };
        assert_eq!(judge_descriptors(&few, Some(1024), 20_000), Finding::warn(DESCRIPTORS, "too few"));
    }

    #[test]
    fn memory_that_is_nearly_used_up_is_told_of() {
        let limit = |used| [MemoryLimit { name: "the control group", bytes: 100 << 20, used }];
        for (used, status) in [(None, Status::Ok), (Some(90 << 20), Status::Ok), (Some(91 << 20), Status::Warn)] {
            assert_eq!(judge_memory(&limit(used)).status, status, "{used:?}");
        }
        assert_eq!(judge_memory(&[]).status, Status::Skip);
    }
}
