//! `docs/kubernetes.md`: every link leads somewhere, every block of YAML is what it says, every command does what it says.

use weighbridge_collector::config::Config;
use weighbridge_tests::kubernetes::{ApiServer, documents, kustomize};
use weighbridge_tests::processes::{release_binary, root};

use super::api_server::{names, of_kind, pod, sample_template};
use super::samples::{COLLECTOR, beside_the_component, deploy, read};

fn guide() -> String {
    std::fs::read_to_string(root().join("docs/kubernetes.md")).unwrap()
}

/// Blocks of one language, in order.
fn blocks(language: &str) -> Vec<String> {
    let text = guide();
    let opening = format!("```{language}\n");
    text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn links_lead_somewhere() {
    let text = guide();
    let mut links = 0;
    for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(root().join("docs").join(link).exists(), "{link}");
        links += 1;
    }
    assert!(links > 5, "{links}");
    let told = text.matches("```").count();
    assert_eq!(
        told,
        2 * (blocks("yaml").len() + blocks("sh").len()),
        "a block of another language is not checked"
    );
}

#[test]
fn blocks_of_yaml_are_what_they_say() {
    let yaml = blocks("yaml");
    assert_eq!(yaml.len(), 2);
    Config::parse(&yaml[0], |_| None).unwrap();
    assert_eq!(documents(&yaml[0]), documents(&read("kustomize/example/collector.yaml")));

    let (_folder, mine) = beside_the_component();
    for file in ["gateway.yaml", "collector.yaml"] {
        std::fs::copy(deploy("kustomize/example").join(file), mine.join(file)).unwrap();
    }
    std::fs::write(mine.join("kustomization.yaml"), &yaml[1]).unwrap();
    let built = documents(&kustomize(&mine).unwrap());
    let gateway = of_kind(&built, "Deployment");
    assert_eq!(names(&gateway["spec"]["template"]["spec"]["initContainers"])[0], COLLECTOR);
}

/// Runs all of them, in order, where the policy is active and a gateway runs.
pub fn commands_do_what_they_say(server: &ApiServer) {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("deploy"), folder.path().join("deploy")).unwrap();
    std::fs::write(folder.path().join("collector.yaml"), &blocks("yaml")[0]).unwrap();
    std::fs::write(folder.path().join("acme.token"), "a-token\n").unwrap();
    let program = release_binary("weighbridge-collector");
    let programs = program.parent().unwrap();
    server.run(
        &["apply", "--server-side", "--namespace=inference", "--filename=-"],
        &read("sidecar/sidecar.yaml"),
    );
    server.run(&["delete", "configmap", "weighbridge-collector", "--namespace=inference"], "");
    let mut printed = Vec::new();
    for block in blocks("sh") {
        for line in block.lines() {
            let output = server.shell(line, folder.path(), programs);
            printed.push(output.unwrap_or_else(|error| panic!("{line}: {error}")));
        }
        if block.contains("admission-policy.yaml") {
            let stored = server.create(&pod("after-the-guide", "inference", &sample_template())).unwrap();
            assert_eq!(names(&stored["spec"]["initContainers"]), [COLLECTOR]);
        }
    }
    let printed = printed.join("\n");
    assert!(printed.lines().any(|line| line.starts_with("rich ") && line.ends_with("0.1.0")), "{printed}");
    for told in ["deployment.apps/gateway restarted", "weighbridge-sidecar-namespaces", "valid: counts"] {
        assert!(printed.contains(told), "{told} is not in {printed}");
    }
}
