//! The images of the pods: a program with its libraries each, built once.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{PATH_TOO, Podman, output};
use crate::support::tidegate::PROGRAM;

/// Of the repository's own images all begin with this.
const PREFIX: &str = "localhost/tidegate-pods";
const UPSTREAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream");
/// What the programs of `tests/upstream` that run in pods import.
const PACKAGES: [&str; 2] = ["socket.io", "jsonwebtoken"];

/// Their names with their tags.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    /// By the repository's Dockerfile, whose stage `binaries` is the program under test with its libraries.
    pub(crate) gate: String,
    /// Node with `tests/upstream` in `/app`; arguments are those of `node`.
    pub(crate) service: String,
    pub(crate) redis: String,
    pub(crate) prometheus: String,
}

impl Images {
    /// Builds those that are not there as they would be now.
    pub(super) fn build(podman: &Podman) -> Result<Self, String> {
        Ok(Self {
            gate: gate(podman)?,
            service: service(podman)?,
            redis: Recipe::of("redis-server", &located("redis-server")?)?.built(podman, "redis")?,
            prometheus: Recipe::of("prometheus", &located("prometheus")?)?.built(podman, "prometheus")?,
        })
    }
}

/// An image with a program that ends at once.
pub(super) fn trivial(podman: &Podman) -> Result<String, String> {
    Recipe::of("true", &located("true")?)?.built(podman, "true")
}

fn gate(podman: &Podman) -> Result<String, String> {
    let mut recipe = Recipe::of("tidegate", Path::new(PROGRAM))?;
    recipe.strip = true;
    recipe.add(Path::new("/etc/ssl/certs/ca-certificates.crt"), "etc/ssl/certs/ca-certificates.crt");
    recipe.folder("var/lib/tidegate/acme");
    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile");
    recipe.dockerfile = fs::read_to_string(dockerfile).map_err(|error| format!("Dockerfile: {error}"))?;
    recipe.built(podman, "gate")
}

fn service(podman: &Podman) -> Result<String, String> {
    let mut recipe = Recipe::of("node", &located("node")?)?;
    for file in fs::read_dir(UPSTREAM).unwrap().flatten() {
        let path = file.path();
        if path.extension().is_some_and(|end| end == "mjs" || end == "html") || path.ends_with("package.json") {
            recipe.add(&path, &format!("app/{}", file.file_name().to_str().unwrap()));
        }
    }
    for package in packages() {
        recipe.add_all(&Path::new(UPSTREAM).join(&package), &format!("app/{package}"));
    }
    recipe.dockerfile += "WORKDIR /app\n";
    recipe.built(podman, "service")
}

/// What is copied into an image, and how it is built.
#[derive(Debug)]
struct Recipe {
    /// The stage `binaries` are its files.
    dockerfile: String,
    /// Where from, and where to below the root.
    files: Vec<(PathBuf, String)>,
    folders: Vec<String>,
    /// The first file goes in without its symbols.
    strip: bool,
}

impl Recipe {
    /// A program as `/NAME`, with its libraries.
    fn of(name: &str, program: &Path) -> Result<Self, String> {
        let dockerfile = format!("FROM scratch\nCOPY --from=binaries / /\nENTRYPOINT [\"/{name}\"]\n");
        let mut recipe =
            Self { dockerfile, files: vec![(program.to_owned(), name.to_owned())], folders: vec![], strip: false };
        // Of a static program it says that there are none, and fails.
        let libraries = output(Command::new("ldd").arg(program)).unwrap_or_default();
        for word in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            recipe.add(&fs::canonicalize(word).map_err(|error| format!("{word}: {error}"))?, &word[1..]);
        }
        Ok(recipe)
    }

    fn add(&mut self, from: &Path, to: &str) {
        self.files.push((from.to_owned(), to.to_owned()));
    }

    fn add_all(&mut self, from: &Path, to: &str) {
        for entry in fs::read_dir(from).unwrap().flatten() {
            let to = format!("{to}/{}", entry.file_name().to_str().unwrap());
            match entry.path() {
                // Packages in a package are listed by themselves.
                path if path.is_dir() && path.ends_with("node_modules") => {}
                path if path.is_dir() => self.add_all(&path, &to),
                path => self.add(&path, &to),
            }
        }
    }

    fn folder(&mut self, name: &str) {
        self.folders.push(name.to_owned());
    }

    /// What would make another image.
    fn key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.dockerfile, &self.folders, self.strip).hash(&mut hasher);
        for (from, to) in &self.files {
            let metadata = fs::metadata(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
            (from, to, metadata.len(), metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }

    fn built(&self, podman: &Podman, name: &str) -> Result<String, String> {
        let image = format!("{PREFIX}-{name}:{}", self.key());
        if podman.try_run(["image", "exists", &image]).is_ok() {
            return Ok(image);
        }
        let folder = tempfile::tempdir_in(&podman.folder).unwrap();
        let root = folder.path().join("root");
        for name in &self.folders {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for (number, (from, to)) in self.files.iter().enumerate() {
            let to = root.join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let stripped =
                self.strip && number == 0 && output(Command::new("strip").arg("-o").args([&to, from])).is_ok();
            if !stripped {
                fs::copy(from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
            }
        }
        let dockerfile = folder.path().join("Dockerfile");
        fs::write(&dockerfile, &self.dockerfile).unwrap();
        let mut build = podman.command("buildah");
        build
            .args(["build", "--quiet", "--isolation=chroot", "--pull=never", "--layers", "--tag", &image, "--file"])
            .arg(dockerfile);
        build.arg(format!("--build-context=binaries={}", root.display())).arg(podman.folder.join("empty"));
        output(&mut build)?;
        // Those of earlier builds; one that a pod still has stays.
        let all = podman.try_run(["images", "--format={{.Repository}}:{{.Tag}}", &format!("{PREFIX}-{name}")])?;
        for old in all.lines().filter(|old| *old != image) {
            let _ = podman.try_run(["rmi", old]);
        }
        Ok(image)
    }
}

fn located(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = format!("{path}:{PATH_TOO}")
        .split(':')
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.exists());
    found.and_then(|found| found.canonicalize().ok()).ok_or_else(|| format!("{program} is not installed"))
}

/// The folders of these packages and of all that they need, below `tests/upstream`.
fn packages() -> BTreeSet<String> {
    let lock = fs::read_to_string(Path::new(UPSTREAM).join("package-lock.json")).unwrap();
    let lock: Value = serde_json::from_str(&lock).unwrap();
    let mut found = BTreeSet::new();
    let mut wanted: Vec<_> = PACKAGES.map(|name| (String::new(), name.to_owned())).into();
    while let Some((of, name)) = wanted.pop() {
        let folder = resolved(&lock["packages"], &of, &name);
        if let Some(needs) = lock["packages"][&folder]["dependencies"].as_object() {
            wanted.extend(needs.keys().filter(|_| !found.contains(&folder)).map(|need| (folder.clone(), need.clone())));
        }
        found.insert(folder);
    }
    found
}

/// Node's way: beside the package that asks, then further up.
fn resolved(packages: &Value, of: &str, name: &str) -> String {
    let mut folder = of;
    loop {
        let slash = if folder.is_empty() { "" } else { "/" };
        let candidate = format!("{folder}{slash}node_modules/{name}");
        if packages.get(&candidate).is_some() {
            return candidate;
        }
        assert!(!folder.is_empty(), "{name}, which {of:?} needs, is not in package-lock.json");
        folder = folder.rfind("node_modules/").map_or("", |at| folder[..at].trim_end_matches('/'));
    }
}
