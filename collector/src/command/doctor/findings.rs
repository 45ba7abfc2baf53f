//! From what a site answered to what is said of it. Pure: no network, no clock.
//!
//! In: answers, and the products of `products.rs`. Out: a `Finding` with the input to use, or hints where nothing is known. Answers are
//! looked at for marks and counted; of their content only numbers come out, and the name of a model where a configuration needs it.

use weighbridge_catalog::{Day, ModelId};

use super::ask::{Answer, Site};
use super::products::{PageProduct, Products};
use crate::aliases::Aliases;
use crate::classifier::Classifier;
use crate::intake::Intake;
use crate::profile::look::Mark;
use crate::profile::prometheus::{PagePlan, Target, holds_metric};
use crate::profile::rules;

/// Longest model name that is taken from an answer.
const MAX_MODEL: usize = 200;
/// Stands where a configuration needs a name that nothing told.
const MODEL_TO_WRITE: &str = "organisation/model";

/// What is configured for a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A page is scraped.
    Page {
        /// Name of the profile.
        profile: String,
        /// Address of the page.
        url: String,
        /// The target's model, for pages that do not name it.
        model: Option<String>,
        /// The page asked for a key.
        needs_key: bool,
    },
    /// A log is followed.
    Log {
        /// Name of the profile.
        profile: String,
        /// The file.
        file: String,
    },
    /// The tap stands in front.
    Tap {
        /// Name of the profile.
        profile: String,
        /// The server behind it.
        upstream: String,
    },
}

/// What is said of one address or file.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// What was given.
    pub asked: String,
    /// What people call the product.
    pub product: String,
    /// What to use.
    pub input: Input,
    /// A counted gateway may stand in front of it.
    pub is_server: bool,
    /// One of the others given is a gateway in front of it.
    pub behind_gateway: bool,
    /// It counts as it stands.
    pub usable: bool,
    /// What was seen.
    pub sees: Vec<String>,
    /// What is missing, each with its fix.
    pub missing: Vec<String>,
    /// How its counts could double.
    pub doubles: Vec<String>,
    /// An input that tells more.
    pub more: String,
    /// The same gateway was given twice; the other finding's place.
    pub same_as: Option<usize>,
}

/// Whether a body is a metrics page: it declares types, or has metrics of a known product.
pub(super) fn is_page(body: &[u8], products: &Products) -> bool {
    body.starts_with(b"# TYPE ")
        || body.starts_with(b"# HELP ")
        || memchr::memmem::find(body, b"\n# TYPE ").is_some()
        || products.pages.iter().any(|product| product.plan.detects(body))
}

/// What is said of a site.
///
/// # Errors
/// Nothing known; hints.
pub(super) fn of_site(site: &Site, products: &Products, day: Day) -> Result<Finding, Vec<String>> {
    if let Some(reason) = &site.unreachable {
        return Err(vec![format!("{reason}; is the address right, and may this machine reach it?")]);
    }
    let (product, page) = told_by(site, products);
    if let Some(product) = product {
        return Ok(of_page(site, product, page, day));
    }
    let (general, silent) = match products.silent.split_last() {
        Some((last, others)) => (Some(last), others),
        None => (None, &[][..]),
    };
    if let Some(look) = silent.iter().find(|look| fits(site, &look.marks)) {
        return Ok(tap(site, look));
    }
    if let Some(profile) = products.logs.iter().find(|profile| fits(site, &profile.rules().look().marks)) {
        return Ok(log_of_site(site, profile.name(), profile.rules().look()));
    }
    match general.filter(|look| fits(site, &look.marks)) {
        Some(look) => Ok(tap(site, look)),
        None => Err(hints(site, products, page.is_some())),
    }
}

/// The product with a profile for pages that a site is, and the page that counts its requests.
fn told_by<'a>(
    site: &'a Site,
    products: &'a Products,
) -> (Option<&'a PageProduct>, Option<(&'a str, &'a Answer)>) {
    let page = page_of(site, products);
    let body = page.map_or(&[][..], |(_, answer)| &answer.body);
    if let Some(detected) = products.pages.iter().find(|product| product.plan.detects(body)) {
        return (Some(detected), page);
    }
    let marked = products
        .pages
        .iter()
        .find(|product| fits(site, &product.look.marks) || holds_metric(body, &product.look.page_marks));
    match marked {
        // A page that cannot be told by itself is this product's, once the product is known.
        Some(marked) => (Some(marked), page.filter(|_| !marked.is_told_by_its_page)),
        None => (None, page),
    }
}

/// Whether it is clear what a site is, so that nothing more is asked.
pub(super) fn is_told(site: &Site, products: &Products) -> bool {
    let silent = products.silent.split_last().map_or(&[][..], |(_, others)| others);
    told_by(site, products).0.is_some() || silent.iter().any(|look| fits(site, &look.marks))
}

/// Where the product of a site names its model, if its page does not.
pub(super) fn model_path<'a>(site: &Site, products: &'a Products) -> Option<&'a str> {
    let page = page_of(site, products);
    let body = page.map_or(&[][..], |(_, answer)| &answer.body);
    let product =
        products.pages.iter().find(|product| product.plan.detects(body) || fits(site, &product.look.marks));
    Some(product?.look.model.as_ref()?.path.as_str())
}

/// The first page among the answers, the given one before others.
fn page_of<'a>(site: &'a Site, products: &Products) -> Option<(&'a str, &'a Answer)> {
    let is_one = |answer: &&Answer| answer.status == 200 && is_page(&answer.body, products);
    let given = site.answers.get_key_value(&site.given_path).filter(|(_, answer)| is_one(answer));
    let others = || site.answers.iter().find(|(_, answer)| is_one(answer));
    given.or_else(others).map(|(path, answer)| (path.as_str(), answer))
}

fn fits(site: &Site, marks: &[Mark]) -> bool {
    marks.iter().any(|mark| {
        site.answers
            .get(&mark.path)
            .is_some_and(|answer| mark.fits(answer.status, |name| answer.header(name), &answer.body))
    })
}

fn of_page(site: &Site, product: &PageProduct, page: Option<(&str, &Answer)>, day: Day) -> Finding {
    let look = &product.look;
    let path = page.map_or(look.page.as_str(), |(path, _)| path);
    let mut finding = Finding {
        asked: format!("{}{}", site.origin, site.given_path),
        product: look.name.clone(),
        input: Input::Page {
            profile: product.profile.to_owned(),
            url: format!("{}{path}", site.origin),
            model: None,
            needs_key: page.is_some_and(|(_, answer)| answer.with_key),
        },
        is_server: product.is_server,
        behind_gateway: false,
        usable: page.is_some(),
        sees: Vec::new(),
        missing: Vec::new(),
        doubles: vec![look.doubles.clone()],
        more: look.more.clone(),
        same_as: None,
    };
    match page {
        Some((_, answer)) => {
            finding.sees.push(format!("{}, by its page {path}", look.name));
            count(&mut finding, product, answer, day);
            several_processes(&mut finding, site, answer);
        }
        None => missing_page(&mut finding, site, product),
    }
    if let (Input::Page { model, .. }, Some(field)) = (&mut finding.input, &look.model) {
        let told = site.answers.get(&field.path).and_then(|answer| model_of(&answer.body, &field.field));
        if told.is_none() {
            finding.usable = false;
            finding.missing.push(format!(
                "{} does not say which model it serves: write its name in targets.model",
                field.path
            ));
        }
        *model = Some(told.unwrap_or_else(|| MODEL_TO_WRITE.to_owned()));
    }
    finding
}

/// What the page would count from its start, in numbers.
fn count(finding: &mut Finding, product: &PageProduct, answer: &Answer, day: Day) {
    let Ok(plan) = rules::named(product.profile).and_then(|file| PagePlan::new(&file)) else { return };
    let classifier = Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), day);
    let mut intake = Intake::of_pages(plan, classifier, 0, 0);
    let target = Target { url: &finding.asked, model: "" };
    if intake.take_page(&answer.body, target, 1, |_, _| {}).is_err() {
        return;
    }
    let totals = intake.counter().totals();
    if totals.requests == 0 && totals.input_tokens == 0 {
        finding.sees.push("no request counted yet; counts begin with the first one".to_owned());
        return;
    }
    let cells = intake.counter().take_cells();
    let known = cells.iter().filter(|cell| cell.key.model != ModelId::UNLISTED);
    let known: u64 = known.map(|cell| cell.counts.requests).sum();
    finding.sees.push(format!(
        "since its start: {} requests, {} input and {} output tokens",
        totals.requests, totals.input_tokens, totals.output_tokens
    ));
    if product.look.model.is_none() && known < totals.requests {
        finding.sees.push(format!(
            "{} of these requests name no model of the register; say by aliases_file what your own names mean",
            totals.requests - known
        ));
    }
}

/// Two answers of one page from two processes.
fn several_processes(finding: &mut Finding, site: &Site, answer: &Answer) {
    let start = |answer: &Answer| {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        text.lines().find_map(|line| {
            line.strip_prefix("process_start_time_seconds ").map(|start| start.trim().to_owned())
        })
    };
    let again = site.again.as_ref().and_then(start);
    if let (Some(first), Some(second)) = (start(answer), again)
        && first != second
    {
        finding.usable = false;
        finding.missing.push(
            "two answers came from two processes: a load balancer stands in front. Give the address of each process".to_owned(),
        );
    }
}

/// Why a product that was recognised has no page that counts.
fn missing_page(finding: &mut Finding, site: &Site, product: &PageProduct) {
    let look = &product.look;
    finding.sees.push(format!("{}, but no page that counts its requests", look.name));
    let native = product
        .native_only
        .as_ref()
        .filter(|native| site.answers.get(&look.page).is_some_and(|answer| answer.status == native.status));
    // Other paths may ask for a key although the page does not.
    let paths = [site.given_path.as_str(), &look.page, "/metrics"];
    let answers = paths.into_iter().filter_map(|path| site.answers.get(path));
    let at_page = answers.into_iter().find(|answer| matches!(answer.status, 401 | 403));
    if let Some(native) = native {
        finding.missing.push(format!(
            "its histograms are native only, which the text format cannot hold: {}",
            native.fix
        ));
        return;
    }
    match at_page {
        Some(answer) if answer.with_key => {
            finding
                .missing
                .push(format!("its page does not take the key of --bearer-token-file ({})", answer.status));
        }
        Some(_) if look.locked.is_empty() => {
            finding.missing.push("its page asks for a key: give one by --bearer-token-file".to_owned());
        }
        Some(_) => finding.missing.push(look.locked.clone()),
        None => finding.missing.push(look.off.clone()),
    }
    if let Input::Page { needs_key, .. } = &mut finding.input {
        *needs_key = at_page.is_some();
    }
    if !look.port.is_empty() {
        finding.missing.push(format!("its page is at {} of {}: give that address", look.page, look.port));
    }
}

fn model_of(body: &[u8], field: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let name = value.get(field)?.as_str()?;
    let is_name =
        !name.is_empty() && name.len() <= MAX_MODEL && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then(|| name.to_owned())
}

fn tap(site: &Site, look: &crate::profile::look::SilentLook) -> Finding {
    Finding {
        asked: format!("{}{}", site.origin, site.given_path),
        product: look.name.clone(),
        input: Input::Tap { upstream: site.origin.clone(), profile: look.tap.clone() },
        is_server: look.is_server,
        behind_gateway: false,
        usable: true,
        sees: vec![format!("{}: {}; use the tap, which stands in front and counts", look.name, look.why)],
        missing: Vec::new(),
        doubles: vec![
            look.doubles.clone(),
            "send clients to the tap only: what goes around it is not counted".to_owned(),
        ],
        more: String::new(),
        same_as: None,
    }
}

fn log_of_site(site: &Site, profile: &str, look: &crate::profile::look::LogLook) -> Finding {
    Finding {
        asked: format!("{}{}", site.origin, site.given_path),
        product: look.name.clone(),
        input: Input::Log { profile: profile.to_owned(), file: look.file.clone() },
        is_server: false,
        behind_gateway: false,
        usable: false,
        sees: vec![format!("{}: its pages name no models; use its access log", look.name)],
        missing: vec![look.off.clone(), "give doctor the log's file, to see what it tells".to_owned()],
        doubles: vec![look.doubles.clone()],
        more: String::new(),
        same_as: None,
    }
}

fn hints(site: &Site, products: &Products, has_page: bool) -> Vec<String> {
    let mut hints = Vec::new();
    if has_page {
        hints.push("there is a metrics page, of no known gateway; NVIDIA NIM has unprefixed names: declare `profile: nim`".to_owned());
    }
    let locked = site.answers.iter().find(|(_, answer)| matches!(answer.status, 401 | 403));
    if let Some((path, _)) = locked {
        hints.push(format!("{path} asks for a key: give one by --bearer-token-file"));
    }
    let ports: Vec<String> = products
        .pages
        .iter()
        .filter(|product| !product.look.port.is_empty())
        .map(|product| format!("{} {}", product.look.name, product.look.port))
        .collect();
    hints.push(format!("some have their page on a port of its own: {}", ports.join("; ")));
    hints.push(
        "any server with an OpenAI-compatible API can be counted by the tap, any gateway by its access log"
            .to_owned(),
    );
    hints
}
