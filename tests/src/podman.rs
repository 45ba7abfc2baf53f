//! Podman for a test: builds the images as `make images` does, in a storage of the target folder, and runs them.
//!
//! Guarantees: a container runs without capabilities, with a read-only root and no new privileges, and is removed with its test, or
//! ends by itself after `LONGEST`. Containers that serve have the network of the machine: everything in them is told to use 127.0.0.1.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use crate::processes::root;

/// Longer than any test takes, seconds; then Podman ends a container that its test left behind.
const LONGEST: &str = "300";
/// What `build-images.sh` tags with.
const TAG: &str = "test";

/// One build at a time: they share the storage.
static BUILDING: Mutex<()> = Mutex::new(());

fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    root().join(target)
}

fn storage() -> PathBuf {
    target().join("images/storage")
}

/// `podman`, with the settings and the storage of the tests.
pub fn podman(arguments: &[&str]) -> Command {
    let mut command = Command::new("podman");
    command.env("CONTAINERS_CONF", root().join("scripts/podman/containers.conf"));
    command.arg("--root").arg(storage()).arg("--runroot").arg(target().join("images/storage-run"));
    command.args(arguments);
    command
}

/// Runs it; the output. Panics with its words if it fails.
pub fn run(mut command: Command) -> String {
    let output = command.output().expect("podman is there; install it with: make setup");
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An image of ours.
#[derive(Debug)]
pub struct Image {
    name: String,
}

impl Image {
    /// Builds `weighbridge/NAME` from the delivered binary, if it is not built of the same already, and prints its size.
    pub fn build(name: &str) -> Image {
        let _one = BUILDING.lock().unwrap();
        let mut command = Command::new(root().join("scripts/build-images.sh"));
        command.arg(name).current_dir(root()).env("TAG", TAG).env("STORAGE", storage());
        print!("{}", run(command));
        Image { name: format!("localhost/weighbridge/{name}:{TAG}") }
    }

    /// A field of its description, as a Go template names it.
    pub fn field(&self, template: &str) -> String {
        run(podman(&["image", "inspect", "--format", template, &self.name])).trim().to_owned()
    }

    /// Lends the folder in which its file system is mounted, read-only.
    pub fn look<T>(&self, look: impl FnOnce(&Path) -> T) -> T {
        let folder = run(podman(&["image", "mount", &self.name]));
        let seen = look(Path::new(folder.trim()));
        run(podman(&["image", "unmount", &self.name]));
        seen
    }

    fn start(&self, options: &[&str], arguments: &[&str]) -> Command {
        let mut command = podman(&["run", "--read-only", "--cap-drop=all"]);
        command.args(["--security-opt=no-new-privileges", "--timeout", LONGEST]);
        command.args(options).arg(&self.name).args(arguments);
        command
    }

    /// Runs it to its end, without a network.
    pub fn output(&self, options: &[&str], arguments: &[&str]) -> Output {
        let mut options = options.to_vec();
        options.extend(["--rm", "--network=none"]);
        self.start(&options, arguments).output().expect("podman runs")
    }

    /// Starts it.
    pub fn run(&self, options: &[&str], arguments: &[&str]) -> Container {
        let mut options = options.to_vec();
        options.extend(["--detach", "--network=host"]);
        Container { id: run(self.start(&options, arguments)).trim().to_owned() }
    }
}

/// A running container, removed when it is dropped.
#[derive(Debug)]
pub struct Container {
    id: String,
}

impl Container {
    /// Runs a command in it, as a preStop hook does.
    pub fn exec(&self, command: &[&str]) -> Output {
        podman(&["exec", &self.id]).args(command).output().expect("podman runs")
    }

    /// A line of `/proc/PID/status` of its first process.
    pub fn status(&self, line: &str) -> String {
        let pid = run(podman(&["inspect", "--format", "{{.State.Pid}}", &self.id]));
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_else(|error| {
                panic!("the container has ended ({error}):\n{}", self.logs());
            });
        let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("no {line} in {status}")).trim().to_owned()
    }

    /// Everything it has printed.
    pub fn logs(&self) -> String {
        let output = podman(&["logs", &self.id]).output().expect("podman runs");
        text(&output.stdout) + &text(&output.stderr)
    }

    /// Sends SIGTERM to its first process; the exit code. 137: it had to be killed.
    pub fn stop(&self) -> i32 {
        run(podman(&["stop", "--time", "60", &self.id]));
        let code = run(podman(&["inspect", "--format", "{{.State.ExitCode}}", &self.id]));
        code.trim().parse().expect("an exit code")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A failure shows in the next run at the latest, and the container ends by itself.
        let _ = podman(&["rm", "--force", "--time", "0", "--volumes", &self.id]).output();
    }
}
