//! What Helm renders of the chart, with every file of values, is taken by a real API server.

use std::collections::BTreeMap;

use serde_json::Value;
use weighbridge_tests::helm::{self, NAMESPACE};
use weighbridge_tests::kubernetes::{ApiServer, as_stream};

/// That of the API server.
const KUBE_VERSION: &str = "1.36.0";

pub fn every_rendered_object_is_taken(server: &ApiServer) {
    let (mut objects, mut problems) = (0, Vec::new());
    for values in helm::values_files() {
        let mut by_namespace: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for object in helm::render(&values, KUBE_VERSION) {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or(NAMESPACE).to_owned();
            by_namespace.entry(namespace).or_default().push(object);
        }
        for (namespace, rendered) in by_namespace {
            server.namespace(&namespace, &[]);
            objects += rendered.len();
            match server.dry_run(Some(&namespace), &as_stream(&rendered)) {
                Ok(warnings) if warnings.is_empty() => {}
                Ok(said) | Err(said) => problems.push(format!("{}: {said}", values.display())),
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    println!("the API server took {objects} objects of the chart without a warning");
    assert!(objects > 50, "{objects}");
}
