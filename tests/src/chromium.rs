//! A headless Chromium for a test: opens a file and tells what a reader would see and what the page did.
//!
//! Guarantees: each call has a profile of its own and ends within a limit, or the test fails. Everything that the browser asks of a
//! network comes to a proxy of ours that answers nothing and keeps the names; what the browser asks for itself is left out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

/// Usually two seconds; the machine may be building at the same time.
const LIMIT: Duration = Duration::from_secs(120);
/// The browser looks for news of itself, whatever page is open.
const OWN_HOSTS: [&str; 3] = ["google.com", "googleapis.com", "gvt1.com"];
const WINDOW: &str = "--window-size=900,1400";
const FLAGS: [&str; 13] = [
    "--headless",
    // The page under test is our own, and a container has no sandbox to give.
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--enable-logging=stderr",
];

/// Which colours the reader prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark text on light.
    Light,
    /// Light text on dark.
    Dark,
}

/// What a page did.
#[derive(Debug)]
pub struct Opened {
    /// The document after loading, as HTML.
    pub dom: String,
    /// Lines of its console.
    pub console: Vec<String>,
    /// Hosts that it asked for.
    pub hosts: Vec<String>,
}

/// A picture, row by row, three bytes a pixel.
#[derive(Debug)]
pub struct Picture {
    /// Pixels.
    pub rgb: Vec<[u8; 3]>,
}

impl Picture {
    /// Mean brightness, 0 to 255.
    pub fn brightness(&self) -> f64 {
        let sum: u64 = self.rgb.iter().flatten().map(|value| u64::from(*value)).sum();
        sum as f64 / (self.rgb.len() * 3) as f64
    }

    /// Pixels of exactly this colour.
    pub fn pixels_of(&self, colour: [u8; 3]) -> usize {
        self.rgb.iter().filter(|pixel| **pixel == colour).count()
    }

    /// Part of the pixels that are not the most frequent colour.
    pub fn drawn(&self) -> f64 {
        let mut counts = std::collections::HashMap::<[u8; 3], usize>::new();
        self.rgb.iter().for_each(|pixel| *counts.entry(*pixel).or_default() += 1);
        let most = counts.values().max().copied().unwrap_or(0);
        1.0 - most as f64 / self.rgb.len() as f64
    }
}

/// Opens a page and reads it.
pub async fn open(page: &Path, folder: &Path) -> Opened {
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a port for the proxy");
    let address = proxy.local_addr().expect("the proxy's address");
    let hosts = Arc::new(Mutex::new(Vec::new()));
    let asked = tokio::spawn(recorded(proxy, hosts.clone()));
    let flags = [format!("--proxy-server=http://{address}"), "--dump-dom".to_owned()];
    let (dom, log) = run(page, folder, "open", &flags).await;
    asked.abort();
    let hosts = std::mem::take(&mut *hosts.lock().expect("hosts"));
    let own = |host: &String| OWN_HOSTS.iter().any(|own| host.ends_with(own));
    Opened {
        dom,
        console: log.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect(),
        hosts: hosts.into_iter().filter(|host| !own(host)).collect(),
    }
}

/// A picture of the page's beginning.
pub async fn screenshot(page: &Path, folder: &Path, scheme: Scheme) -> Picture {
    let name = format!("{scheme:?}").to_lowercase();
    let file = folder.join(format!("{name}.png"));
    let number = if scheme == Scheme::Dark { 0 } else { 1 };
    let flags = [
        format!("--blink-settings=preferredColorScheme={number}"),
        WINDOW.to_owned(),
        format!("--screenshot={}", file.display()),
    ];
    run(page, folder, &name, &flags).await;
    picture(&file)
}

/// The page as it is printed, in bytes of PDF.
pub async fn print(page: &Path, folder: &Path) -> Vec<u8> {
    let file = folder.join("print.pdf");
    let flags = ["--no-pdf-header-footer".to_owned(), format!("--print-to-pdf={}", file.display())];
    run(page, folder, "print", &flags).await;
    std::fs::read(&file).expect("the PDF")
}

async fn run(page: &Path, folder: &Path, name: &str, flags: &[String]) -> (String, String) {
    let profile: PathBuf = folder.join(format!("profile-{name}-{}", fastrand::u64(..)));
    let mut command = Command::new("chromium");
    command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display())).args(flags);
    command.arg(format!("file://{}", page.display())).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LIMIT, command.output())
        .await
        .unwrap_or_else(|_| panic!("chromium did not end within {LIMIT:?}: {name}"))
        .unwrap_or_else(|error| panic!("chromium does not start ({error}); run: make setup"));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "chromium: {}\n{log}", output.status);
    let _ = std::fs::remove_dir_all(profile);
    (String::from_utf8(output.stdout).expect("a page in UTF-8"), log)
}

/// Takes every connection, notes the host of its first line and closes it.
async fn recorded(proxy: TcpListener, hosts: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut stream, _)) = proxy.accept().await {
        let mut head = [0; 2_048];
        let read = stream.read(&mut head).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&head[..read]).into_owned();
        let target = text.split(' ').nth(1).unwrap_or_default();
        let authority = target.split("://").last().unwrap_or_default().split('/').next().unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned();
        hosts.lock().expect("hosts").push(host);
    }
}

fn picture(file: &Path) -> Picture {
    let reader = std::io::BufReader::new(std::fs::File::open(file).expect("the screenshot"));
    let mut decoder = png::Decoder::new(reader);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a picture that fits in memory")];
    let info = reader.next_frame(&mut bytes).expect("a PNG");
    let samples = info.color_type.samples();
    assert!(samples >= 3, "{:?}", info.color_type);
    let pixels = bytes[..info.buffer_size()].chunks_exact(samples);
    Picture { rgb: pixels.map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect() }
}
