//! Podman, with storage, settings and networks of its own in `target/pods`: nothing of the machine is changed.
//!
//! What podman 4.3 does not do of a kubelet's work, `kubelet.rs` does.

pub(crate) mod balancer;
pub(crate) mod images;
pub(crate) mod kubelet;
pub(crate) mod manifests;
pub(crate) mod prometheus;

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

use self::images::Images;

/// `required`: a test fails where it would be skipped.
const WANTED: &str = "TIDEGATE_PODS";
/// Debian has it where the path of an ordinary user does not lead.
const PATH_TOO: &str = "/usr/sbin:/sbin";
/// The first address of a pod in its network; the bridge has .1.
const FIRST_ADDRESS: u8 = 10;

/// Where everything of these tests is.
fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("pods")
}

/// Where programs are looked for.
fn path() -> String {
    format!("{}:{PATH_TOO}", env::var("PATH").unwrap_or_default())
}

/// A storage with its settings; all tests of a machine's boot share it.
#[derive(Debug, Clone)]
pub(crate) struct Podman {
    folder: PathBuf,
}

impl Podman {
    /// With a driver by which a container has run here; else why none does.
    fn prepare() -> Result<Self, String> {
        // What podman notes about running containers is wrong after a boot, so each boot has a folder.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let boot = boot.split('-').next().unwrap();
        for old in fs::read_dir(home()).unwrap().flatten() {
            if old.path().is_dir() && old.file_name() != boot {
                let _ = fs::remove_dir_all(old.path());
            }
        }
        let podman = Self { folder: home().join(boot) };
        fs::create_dir_all(podman.folder.join("empty")).unwrap();
        for program in ["podman", "buildah", "runc"] {
            // Before there are settings, which they would look for.
            output(Command::new(program).arg("--version").env("PATH", path()))?;
        }
        fs::create_dir_all(podman.folder.join("runs")).unwrap();
        if !podman.folder.join("works").exists() {
            podman.probe()?;
            fs::write(podman.folder.join("works"), "").unwrap();
        }
        Ok(podman)
    }

    /// Runs a container that ends at once, with each driver until one can.
    fn probe(&self) -> Result<(), String> {
        let mut why = String::new();
        for driver in ["overlay", "vfs"] {
            self.settle(driver);
            match self.runs_something() {
                Ok(()) => return Ok(()),
                Err(error) => why += &format!("with the storage driver {driver}: {error}\n"),
            }
            let _ = fs::remove_dir_all(self.folder.join("storage"));
            let _ = fs::remove_dir_all(self.folder.join("libpod"));
        }
        Err(why)
    }

    fn runs_something(&self) -> Result<(), String> {
        let image = images::trivial(self)?;
        self.try_run(["run", "--rm", "--pull=never", "--network=none", &image]).map(drop)
    }

    /// The locks are files: those in shared memory belong to all of the machine.
    fn settle(&self, driver: &str) {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let containers = format!(
            "[containers]\ndefault_ulimits = [\"nofile=10000:10000\", \"nproc=10000:10000\"]\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nlock_type = \"file\"\n\
             static_dir = {:?}\ntmp_dir = {:?}\nvolume_path = {:?}\n\
             [network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = {:?}\n",
            at("libpod"),
            at("libpod/run"),
            at("volumes"),
            at("networks"),
        );
        let storage = format!(
            "[storage]\ndriver = {driver:?}\ngraphroot = {:?}\nrunroot = {:?}\n",
            at("storage/graph"),
            at("storage/run")
        );
        fs::write(self.folder.join("containers.conf"), containers).unwrap();
        fs::write(self.folder.join("storage.conf"), storage).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"));
        command.env("PATH", path());
        // `kube play` takes a folder with an image's name for the image's source: it runs where there is none.
        command.current_dir(self.folder.join("empty"));
        command
    }

    /// What `podman` with these arguments prints; a failure is a sentence.
    fn try_run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String, String> {
        output(self.command("podman").args(args))
    }

    /// As `try_run`, of a task: podman takes a part of a second.
    async fn run(&self, args: &[&str]) -> String {
        self.tries(args).await.unwrap_or_else(|error| panic!("podman {args:?}: {error}"))
    }

    async fn tries(&self, args: &[&str]) -> Result<String, String> {
        let mut command = self.command("podman");
        command.args(args);
        tokio::task::spawn_blocking(move || output(&mut command)).await.unwrap()
    }

    /// Removes everything whose name begins so.
    fn remove(&self, run: &str) {
        let filter = format!("name=^{run}-");
        let pods = self.try_run(["pod", "ps", "--quiet", "--filter", &filter]).unwrap_or_default();
        if !pods.trim().is_empty() {
            let _ = self.try_run(["pod", "rm", "--force", "--time=0"].into_iter().chain(pods.split_whitespace()));
        }
        let _ = self.try_run(["network", "rm", "--force", run]);
        let folder = self.folder.join("runs").join(run);
        balancer::end(&folder.join(balancer::FOLDER));
        let _ = fs::remove_dir_all(folder);
    }

    /// What earlier runs have left that were killed: nobody holds their locks.
    fn remove_leftovers(&self) {
        for entry in fs::read_dir(self.folder.join("runs")).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let Some(run) = name.strip_suffix(".lock") else { continue };
            if File::open(entry.path()).is_ok_and(|lock| lock.try_lock().is_ok()) {
                self.remove(run);
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// What it prints; a failure is what it says.
fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_owned();
    let output = command.output().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() {
        return Ok(text(output.stdout));
    }
    Err(format!("{} ended with {}: {}{}", program.display(), output.status, text(output.stdout), text(output.stderr)))
}

/// A network of pods that are the test's own; they end with the value.
#[derive(Debug)]
pub(crate) struct Pods {
    podman: Podman,
    pub(crate) images: Images,
    /// Names of all that is the run's begin with this.
    run: String,
    /// The first three bytes of every address.
    subnet: [u8; 3],
    next: AtomicU8,
    _lock: File,
}

impl Pods {
    /// None: containers cannot run here, which standard error says, and `target/pods/skipped`.
    ///
    /// # Panics
    /// There also with `TIDEGATE_PODS=required`.
    pub(crate) async fn start() -> Option<Self> {
        match tokio::task::spawn_blocking(Self::prepare).await.unwrap() {
            Ok(pods) => Some(pods),
            Err(why) => {
                let told = format!(
                    "THE TESTS WITH PODS WERE SKIPPED: no container can be run on this machine, as root, by podman and runc.\n\
                     {why}\nWith {WANTED}=required this is a failure.\n"
                );
                assert!(env::var(WANTED).as_deref() != Ok("required"), "{told}");
                eprint!("{told}");
                fs::write(home().join("skipped"), told).unwrap();
                None
            }
        }
    }

    fn prepare() -> Result<Self, String> {
        fs::create_dir_all(home()).unwrap();
        let setup = File::create(home().join("lock")).unwrap();
        // One after the other: images are built once.
        setup.lock().unwrap();
        let podman = Podman::prepare()?;
        podman.remove_leftovers();
        let images = Images::build(&podman).unwrap_or_else(|error| panic!("an image cannot be built: {error}"));
        let run = format!("tidegate-{}", std::process::id());
        let lock = File::create(podman.folder.join("runs").join(format!("{run}.lock"))).unwrap();
        lock.lock().unwrap();
        fs::create_dir_all(podman.folder.join("runs").join(&run)).unwrap();
        let network = |args: &[&str]| {
            podman
                .try_run(["network"].iter().chain(args))
                .unwrap_or_else(|error| panic!("podman network {args:?}: {error}"))
        };
        network(&["create", "--disable-dns", &run]);
        let subnet = network(&["inspect", &run, "--format", "{{range .Subnets}}{{.Gateway}}{{end}}"]);
        let gateway: Ipv4Addr = subnet.trim().parse().unwrap();
        let [a, b, c, _] = gateway.octets();
        Ok(Self { podman, images, run, subnet: [a, b, c], next: FIRST_ADDRESS.into(), _lock: lock })
    }

    /// The address that no pod has had.
    pub(crate) fn reserve(&self) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The test's own side of the bridge.
    pub(crate) fn host(&self) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, 1)
    }

    /// A folder of the run's, which is made.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.podman.folder.join("runs").join(&self.run).join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Shows the last lines of every container.
    fn tell(&self) {
        let filter = format!("name=^{}-", self.run);
        let names = self.podman.try_run(["ps", "--all", "--format={{.Names}} {{.Status}}", "--filter", &filter]);
        for line in names.unwrap_or_default().lines() {
            let name = line.split(' ').next().unwrap();
            let mut logs = self.podman.command("podman");
            let logs = logs.args(["logs", "--tail=50", name]).output().unwrap();
            eprintln!(
                "--- the container {line}\n{}{}---",
                String::from_utf8_lossy(&logs.stdout),
                String::from_utf8_lossy(&logs.stderr)
            );
        }
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell();
        }
        self.podman.remove(&self.run);
        let _ = fs::remove_file(self.podman.folder.join("runs").join(format!("{}.lock", self.run)));
    }
}
