#!/usr/bin/env bash
# Brings what the Helm chart holds a copy of up to its source: dashboards and alert rules (a chart cannot read outside its folder), and
# README.md, which helm-docs makes of values.yaml and README.md.gotmpl. Tests fail while a copy differs.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

chart=$root/deploy/helm/weighbridge
"$root/scripts/install-helm.sh" >/dev/null
mkdir -p "$chart/files/dashboards"
rm -f "$chart/files/dashboards"/*.json
cp "$root"/deploy/grafana/dashboards/*.json "$chart/files/dashboards/"
cp "$root/deploy/prometheus/rules.yaml" "$chart/files/rules.yaml"
"$tools/helm/helm-docs" --chart-search-root "$root/deploy/helm" --log-level warning
say "the chart is up to date"
