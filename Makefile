# Everything a developer and CI run. `make help` lists the targets.
# Pinned tools go to .tools in this folder (about 2.2 GB), Rust's output to target; nothing else is touched, except
# that root on Debian gets missing system packages installed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-demo build images lint test demo faults bench fuzz clean-tools

export PATH := $(CURDIR)/.tools/cargo/bin:$(CURDIR)/.tools/cargo-fuzz/bin:$(PATH)

help: ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## Installs pinned ClickHouse, Kafka, LiteLLM, Envoy, nginx, Ollama, promtool, cargo-deny, Helm, Kubernetes' API server and schemas into .tools, and Debian's Chromium and Podman; does nothing when they are there
	scripts/check-tools.sh
	scripts/install-clickhouse.sh
	scripts/install-kafka.sh
	scripts/install-litellm.sh
	scripts/install-envoy.sh
	scripts/install-nginx.sh
	scripts/install-ollama.sh
	scripts/install-kubernetes.sh
	scripts/install-crds.sh
	scripts/install-compose.sh
	scripts/install-promtool.sh
	scripts/install-helm.sh
	scripts/install-kubernetes-validate.sh
	scripts/install-cargo-deny.sh
	scripts/install-chromium.sh
	scripts/install-podman.sh

setup-demo: ## Installs what `make demo` needs: ClickHouse
	scripts/check-build-tools.sh
	scripts/install-clickhouse.sh

build: ## Builds what is delivered and what the tests start: the sidecar, the aggregator (also one that can break), the standalone program
	scripts/build-collector.sh
	scripts/build-sabotaged.sh
	cargo build --release --locked -p weighbridge-aggregator -p weighbridge

images: build ## Builds the container images with Podman and prints their sizes
	scripts/install-podman.sh
	scripts/install-clickhouse.sh
	scripts/build-images.sh

lint: ## Formatting, clippy with warnings as errors, licences and sources of dependencies
	scripts/install-cargo-deny.sh
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo deny --locked check licenses bans sources
	cargo run --quiet --locked -p weighbridge-collector -- catalog lint

# Most of them wait for a server most of the time.
export RUST_TEST_THREADS ?= 4
test: setup lint build ## Everything CI runs: lint, then all tests against real Kafka, ClickHouse and gateways
	cargo test --workspace --locked

demo: setup-demo ## Runs everything in one process, with made-up traffic; ARGS=--serve keeps it up
	cargo run --release --locked -p weighbridge -- demo $(ARGS)

FAULTS ?= 1000
faults: setup build ## Runs the fault suite with FAULTS (1000) faults; ARGS="--seed N" repeats a run; logs stay in target/faults
	scripts/build-previous.sh
	cargo run --release --locked -p weighbridge-tests --bin faults -- --faults $(FAULTS) \
	    --previous $(CURDIR)/target/previous/weighbridge-aggregator $(ARGS)

bench: build ## Runs the benches and the load tools
	cargo bench --workspace --locked
	cargo run --release --locked -p weighbridge-tests --bin load-otlp
	cargo run --release --locked -p weighbridge-tests --bin load-otlp -- --gzip
	cargo run --release --locked -p weighbridge-tests --bin load-sidecar
	scripts/install-kafka.sh
	scripts/install-clickhouse.sh
	cargo run --release --locked -p weighbridge-tests --bin load-ingest
	cargo run --release --locked -p weighbridge-tests --bin load-topic
	cargo run --release --locked -p weighbridge-tests --bin load-fleet
	cargo run --release --locked -p weighbridge-tests --bin bench-panels
	scripts/install-nginx.sh
	cargo run --release --locked -p weighbridge-tests --bin load-tap

FUZZ_SECONDS ?= 600
# Without a sanitizer: our crates deny unsafe code, so it would find little and take half of the speed.
FUZZ := RUSTC_BOOTSTRAP=1 cargo fuzz
FUZZ_LIMITS := -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=2048
fuzz: ## Fuzzes the matcher and every parser for FUZZ_SECONDS (600) each
	scripts/install-cargo-fuzz.sh
	cd catalog/fuzz && $(FUZZ) run -s none --fuzz-dir . classify -- $(FUZZ_LIMITS)
	cd collector/fuzz && $(FUZZ) build -s none --fuzz-dir .
	cd collector/fuzz && for target in tap socket otlp otlp_json webhook als har access_log prometheus spool; do \
	    $(FUZZ) run -s none --fuzz-dir . $$target -- -dict=names.dict $(FUZZ_LIMITS); done
	cd aggregator/fuzz && for target in report record; do \
	    $(FUZZ) run -s none --fuzz-dir . $$target -- $(FUZZ_LIMITS); done

clean-tools: ## Removes .tools
	rm -rf .tools
