//! What goes wrong around a certificate, and what is served meanwhile.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    sync::Arc,
    time::Duration,
};

use tidegate::{
    event_names::EventNames,
    observe::{Exposition, gauges::Gauges},
    tls::acme::{Acme, ChallengeType, Ordered},
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::order::{World, next, publishing};
use crate::support::eventually;

/// A node that answers for itself, and whose figures are looked at.
struct Watched {
    published: UnboundedReceiver<Ordered>,
    figures: Exposition,
}

impl Watched {
    async fn of(world: &mut World) -> Self {
        let gauges = Arc::new(Gauges::new());
        let node = Acme::new(&world.table, Arc::clone(&gauges)).unwrap();
        world.answer_with(&node.challenges()).await;
        let published = publishing(node);
        let figures = Exposition::new(vec![], Arc::new(EventNames::new(1, [])), gauges, None);
        Self { published, figures }
    }

    fn figure(&self, name: &str) -> f64 {
        let page = self.figures.render();
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
    }

    async fn reaches(&self, name: &str, expected: f64) {
        eventually(&format!("{name} is {expected}"), async || (self.figure(name) == expected).then_some(())).await;
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_ends_and_kept_while_the_server_is_away() {
    let mut world = World::issuing(ChallengeType::Http01, Duration::from_secs(15)).await;
    let mut node = Watched::of(&mut world).await;
    let first = next(&mut node.published).await;
    let second = next(&mut node.published).await;
    assert_ne!(first.key().cert, second.key().cert);
    assert!(second.not_after() > first.not_after());
    assert_eq!(node.figure("tidegate_acme_orders_total{result=\"ok\"}"), 2.0);
    world.pebble.stop().await;
    node.reaches("tidegate_acme_orders_total{result=\"failed\"}", 1.0).await;
    let next_order = node.figure("tidegate_acme_next_order_timestamp_seconds");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(next_order - now > 30.0, "the next attempt is a minute away: {next_order} {now}");
    assert!(node.published.try_recv().is_err(), "what was published is not taken back");
    // Whoever starts now shows what there is, whatever the server says.
    let again = next(&mut world.run()).await;
    assert_eq!(again.key().cert, second.key().cert);
}

#[tokio::test]
async fn what_is_broken_in_the_cache_is_ordered_anew() {
    let world = World::with(ChallengeType::TlsAlpn01).await;
    let first = next(&mut world.run()).await;
    world.kept().await;
    for entry in fs::read_dir(world.folder.path().join("acme")).unwrap() {
        fs::write(entry.unwrap().path(), "\0 broken").unwrap();
    }
    let second = next(&mut world.run()).await;
    assert_ne!(first.key().cert, second.key().cert);
    let kept = world.kept().await;
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    eventually("the new one is kept", async || {
        fs::read_to_string(&kept).unwrap().contains("BEGIN CERTIFICATE").then_some(())
    })
    .await;
}

/// A file system of 256 KiB, where this user may make one.
struct Small(std::path::PathBuf);

impl Small {
    fn mounted(at: &std::path::Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_loses_neither_the_old_certificate_nor_the_new_one() {
    let mut world = World::issuing(ChallengeType::Http01, Duration::from_secs(15)).await;
    let Some(disk) = Small::mounted(&world.table.cache) else {
        eprintln!("not tested: this user may not mount");
        return;
    };
    let mut node = Watched::of(&mut world).await;
    let first = next(&mut node.published).await;
    let kept = world.kept().await;
    let old = fs::read(&kept).unwrap();
    disk.fill();
    let second = next(&mut node.published).await;
    assert_ne!(first.key().cert, second.key().cert, "it is ordered and served all the same");
    eventually("the failure is counted", async || {
        (node.figure("tidegate_acme_cache_failures_total") > 0.0).then_some(())
    })
    .await;
    assert_eq!(fs::read(&kept).unwrap(), old);
    fs::remove_file(disk.0.join("filler")).unwrap();
    eventually("it is kept as soon as there is room", async || (fs::read(&kept).unwrap() != old).then_some(())).await;
}
