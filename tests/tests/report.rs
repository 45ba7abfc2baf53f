//! The report in a real browser: its text is the truth, it looks like something in light, dark and print, and it asks for nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use crate::small_set;
use std::path::{Path, PathBuf};

use crate::aggregator::Rig;
use weighbridge_tests::chromium::{self, Opened, Scheme};

/// Of the classes that the small set has, as the page paints them.
const CLOSED: [u8; 3] = [0xE6, 0x7A, 0x2E];
const PERMISSIVE: [u8; 3] = [0x2F, 0xB3, 0x8C];
const RESTRICTED: [u8; 3] = [0xF0, 0xD4, 0x42];

struct Written {
    html: String,
    file: PathBuf,
    markdown: String,
}

fn write(rig: &Rig, period: &[String; 4]) -> Written {
    let period: Vec<&str> = period.iter().map(String::as_str).collect();
    let file = rig.folder.path().join("report.html");
    let output = ["--output", file.to_str().unwrap()];
    assert_eq!(rig.run(&[&["report"], &period[..], &output].concat()), "");
    let html = std::fs::read_to_string(&file).unwrap();
    assert_eq!(html, rig.run(&[&["report"], &period[..]].concat()), "the same figures make the same report");
    let markdown = rig.run(&[&["report"], &period[..], &["--format", "markdown"]].concat());
    Written { html, file, markdown }
}

/// The cells of every row of every table, as a reader sees them.
fn html_rows(dom: &str) -> Vec<Vec<String>> {
    let text = |cell: &str| {
        let inner = cell.split_once('>').unwrap().1.split("</t").next().unwrap();
        inner.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").trim().to_owned()
    };
    let rows = dom.split("<tr>").skip(1).map(|row| row.split("</tr>").next().unwrap());
    rows.map(|row| {
        let cells = row.replace("<th", "<td");
        cells.split("<td").skip(1).map(text).collect()
    })
    .collect()
}

fn markdown_rows(markdown: &str) -> Vec<Vec<String>> {
    let cell = |cell: &str| {
        let text = cell.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        text.replace("\\_", "_").replace("\\|", "|").replace("\\#", "#").trim().to_owned()
    };
    let lines = markdown.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| :--"));
    let lines = lines.filter(|line| !line.starts_with("| --:"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(cell).collect()).collect()
}

/// 1,234 as 1234; names with commas are left.
fn plain(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == ',');
    let cell = |text: String| if is_number(&text) { text.replace(',', "") } else { text };
    rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect()
}

#[tokio::test]
async fn a_report_in_a_browser() {
    let rig = Rig::start().await;
    small_set::fill(&rig, small_set::own).await;
    let period = small_set::period(&rig).await;
    let written = write(&rig, &period);
    // For people: what it looks like.
    if let Some(folder) = std::env::var_os("WEIGHBRIDGE_KEEP_REPORT") {
        std::fs::write(Path::new(&folder).join("report.html"), &written.html).unwrap();
        std::fs::write(Path::new(&folder).join("report.md"), &written.markdown).unwrap();
    }

    is_complete_in_one_file(&written.html);
    every_chart_has_words(&written.html);
    let opened = chromium::open(&written.file, rig.folder.path()).await;
    is_quiet(&opened);
    tells_the_truth(&opened.dom, &written.markdown);
    agrees_with_the_commands(&rig, &written);
    shows_something(&written.file, rig.folder.path()).await;
    a_page_that_does_what_it_should_not_is_seen(rig.folder.path()).await;
}

fn is_complete_in_one_file(html: &str) {
    let without_namespace = html.replace("http://www.w3.org/2000/svg", "");
    for reference in
        ["http:", "https:", "<script", "src=", "href", "url(", "@import", "<iframe", "javascript:", "//"]
    {
        assert!(!without_namespace.contains(reference), "{reference} is in the report");
    }
    assert!(html.contains("default-src 'none'"));
    assert!(html.len() < 500_000, "{} bytes", html.len());
}

fn every_chart_has_words(html: &str) {
    let charts: Vec<&str> = html.split("<svg class=\"chart\"").skip(1).collect();
    assert!(charts.len() >= 10, "{} charts", charts.len());
    for chart in charts {
        let head: String = chart.chars().take(1_500).collect();
        assert!(head.contains("role=\"img\"") && head.contains("aria-labelledby"), "{head}");
        let words = |tag: &str| {
            let text = head.split(&format!("<{tag} id=")).nth(1).unwrap().split_once('>').unwrap().1;
            text.split('<').next().unwrap().to_owned()
        };
        assert!(words("title").len() > 10 && words("desc").len() > 30, "{head}");
        let after = chart.split("</figure>").nth(1).unwrap().trim_start();
        assert!(after.starts_with("<div class=\"scroll\">"), "no table below a chart: {}", &after[..100]);
    }
    let described = "requests: open, permissive 10.0%, open, restricted 20.0%, unknown 10.0%, closed 60.0%";
    assert!(html.contains(described), "{described}");
}

fn is_quiet(opened: &Opened) {
    assert!(opened.console.is_empty(), "{:?}", opened.console);
    assert!(opened.hosts.is_empty(), "{:?}", opened.hosts);
}

/// The arithmetic is in `small_set`.
fn tells_the_truth(dom: &str, markdown: &str) {
    let statement = "Between 30.0% and 40.0% of requests went to open-weight models. Of those whose model is known, 33.3% did.";
    assert!(dom.contains(statement) && markdown.contains(statement));
    let spread = "The same requests are 0.0% to 40.0% open, by the rule of counting alone.";
    assert!(dom.contains(spread), "{spread}");
    let rows = html_rows(dom);
    for expected in [
        &["requests", "30.0%", "20.0%", "60.0%", "10.0%", "30.0% and 40.0%", "33.3%"][..],
        // 11,000 of 18,000, of which 10,000 restricted; 6,000; 1,000; 11,000 of 17,000.
        &["input_tokens", "61.1%", "55.6%", "33.3%", "5.6%", "61.1% and 66.7%", "64.7%"],
        &["output_tokens", "30.0%", "20.0%", "60.0%", "10.0%", "30.0% and 40.0%", "33.3%"],
        &["closed", "60", "60.0%", "6,000", "33.3%", "600", "60.0%"],
        &["open-restricted", "20", "20.0%", "10,000", "55.6%", "200", "20.0%"],
        &["requests", "30.0%", "33.3%", "40.0%"],
        &["restricted_as_closed", "10.0%", "5.6%", "10.0%", "5.8%", "10.0%", "-20.0 points"],
        &["four_labs", "10.0%", "5.6%", "10.0%", "5.8%", "0.0%", "-20.0 points"],
        &["unknown_as_open", "40.0%", "66.7%", "40.0%", "65.3%", "0.0%", "+10.0 points"],
        &["failed requests, too", "105", "28.6%", "28.6% and 38.1%", "59.5%", "-1.4 points"],
        &["production alone", "70", "14.3%", "14.3% and 14.3%", "14.3%", "-15.7 points"],
        &["embeddings alone", "700", "100.0%", "100.0% and 100.0%", "100.0%", "+70.0 points"],
        &["closed", "rate_limited", "open", "10", "10", "10.0", "100.0%", "100.0%", "100.0%"],
        &["closed", "65", "92.3%", "0.0%", "75", "1.2"],
        &["fallback", "10", "10.0%", "100.0%", "0.0%", "0.0%"],
    ] {
        assert!(rows.iter().any(|row| row == expected), "{expected:?} is not in {rows:#?}");
    }
    assert_eq!(plain(rows), plain(markdown_rows(markdown)), "both forms have the same tables");
    for wrong in ["NaN", "inf%", "no data for this period"] {
        assert!(!dom.contains(wrong), "{wrong}");
    }
}

/// Below each table stands a command; what it prints is the table.
fn agrees_with_the_commands(rig: &Rig, written: &Written) {
    let commands: Vec<&str> = written
        .markdown
        .lines()
        .filter_map(|line| line.strip_prefix("From the command line: `weighbridge-aggregator "))
        .map(|line| line.trim_end_matches('`'))
        .collect();
    assert!(commands.len() >= 15, "{commands:?}");
    for command in &commands {
        assert!(
            written
                .html
                .contains(&format!("<code class=\"command\">weighbridge-aggregator {command}</code>"))
        );
        let arguments: Vec<&str> = command.split(' ').chain(["--format", "markdown"]).collect();
        let printed = rig.run(&arguments);
        // Other populations are told in one row each, and are in `tells_the_truth`.
        let is_other =
            ["--outcome", "--operation", "--environment"].iter().any(|option| command.contains(option));
        for table in tables(&printed).into_iter().filter(|_| !is_other) {
            assert!(written.markdown.contains(&table), "of {command}, not in the report:\n{table}");
        }
    }
    for asked in
        ["split", "adoption", "production", "fallbacks", "outcomes", "retention", "models", "coverage"]
    {
        assert!(commands.iter().any(|command| command.starts_with(asked)), "{asked}");
    }
}

fn tables(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("\n\n").filter(|block| block.starts_with("| "));
    blocks.map(|block| block.trim_end().to_owned()).collect()
}

async fn shows_something(file: &Path, folder: &Path) {
    let light = chromium::screenshot(file, folder, Scheme::Light).await;
    let dark = chromium::screenshot(file, folder, Scheme::Dark).await;
    assert!(light.brightness() > 200.0, "light is {}", light.brightness());
    assert!(dark.brightness() < 90.0, "dark is {}", dark.brightness());
    for (name, picture) in [("light", &light), ("dark", &dark)] {
        assert!((0.05..0.6).contains(&picture.drawn()), "{name}: {} of it is drawn", picture.drawn());
        for colour in [CLOSED, PERMISSIVE, RESTRICTED] {
            assert!(picture.pixels_of(colour) > 1_000, "{name}: {colour:?} is not there");
        }
    }
    // Text is drawn in both: the page's ink is there.
    assert!(light.pixels_of([0x1B, 0x1B, 0x1F]) > 500 && dark.pixels_of([0xEC, 0xEC, 0xF0]) > 500);
    assert_eq!(dark.pixels_of([255, 255, 255]), 0, "nothing is left white in the dark");
    let pdf = chromium::print(file, folder).await;
    assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 20_000, "{} bytes", pdf.len());
    let pages = memchr::memmem::find_iter(&pdf, b"/Type /Page\n").count();
    assert!((2..30).contains(&pages), "{pages} pages");
}

/// The checks above can fail.
async fn a_page_that_does_what_it_should_not_is_seen(folder: &Path) {
    let file = folder.join("wrong.html");
    let page = "<p>wrong<img src=\"http://pictures.invalid/x.png\"><script>console.error('wrong')</script>";
    std::fs::write(&file, page).unwrap();
    let opened = chromium::open(&file, folder).await;
    assert_eq!(opened.hosts, ["pictures.invalid"]);
    assert_eq!(opened.console.len(), 1, "{:?}", opened.console);
    std::fs::write(&file, "").unwrap();
    let blank = chromium::screenshot(&file, folder, Scheme::Light).await;
    assert!(blank.drawn() < 0.01, "{}", blank.drawn());
}
