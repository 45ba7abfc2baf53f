{{/* What cannot work, said when the chart is rendered. One line a mistake: what is wrong, and what to write. All are told at once. */}}
{{- define "weighbridge.validate" -}}
{{- $mistakes := list -}}
{{- $aggregator := or .Values.ingest.enabled .Values.load.enabled .Values.migrate.enabled -}}
{{- range $part := list "connections" "secrets" "door" "scaling" "sidecar" -}}
{{- if or $aggregator (eq $part "sidecar") -}}
{{- range splitList "\n" (include (printf "weighbridge.validate.%s" $part) $) -}}
{{- with trim . }}{{ $mistakes = append $mistakes . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $mistakes -}}
{{- fail (printf "\n\nvalues of weighbridge:\n  %s\n" (join "\n  " $mistakes)) -}}
{{- end -}}
{{- end -}}

{{- define "weighbridge.validate.connections" -}}
{{- $config := include "weighbridge.config" . | fromYaml -}}
{{- if and .Values.existingConfigMap .Values.config }}
config: is not used together with existingConfigMap; write it into that ConfigMap
{{- end }}
{{- if not $config.kafka.bootstrap_servers }}
kafka.bootstrapServers: is needed, for example kafka-bootstrap.kafka.svc:9092; the chart brings no Kafka
{{- else if not (regexMatch "^[^:, ]+:[0-9]+(,[^:, ]+:[0-9]+)*$" $config.kafka.bootstrap_servers) }}
kafka.bootstrapServers: must be host:port,host:port
{{- end }}
{{- if or .Values.load.enabled .Values.migrate.enabled }}
{{- if not $config.clickhouse.url }}
clickhouse.url: is needed, for example http://clickhouse.clickhouse.svc:8123; the chart brings no ClickHouse
{{- else if not (regexMatch "^https?://" $config.clickhouse.url) }}
clickhouse.url: must begin with http:// or https://
{{- else if contains "@" $config.clickhouse.url }}
clickhouse.url: must hold no user and no password; use clickhouse.auth
{{- else if and .Values.clickhouse.tls.caSecret (not (hasPrefix "https://" $config.clickhouse.url)) }}
clickhouse.tls.caSecret: needs an https: URL in clickhouse.url
{{- end }}
{{- end }}
{{- if and (not .Values.kafka.tls.enabled) (or .Values.kafka.tls.caSecret .Values.kafka.tls.clientSecret) }}
kafka.tls.enabled: must be true, because a Secret of kafka.tls is given
{{- end }}
{{- if and .Values.kafka.auth.mechanism (not (include "weighbridge.hasAuth" .Values.kafka.auth)) }}
kafka.auth.existingSecret: is needed with kafka.auth.mechanism (or username and password)
{{- end }}
{{- if and (not .Values.kafka.auth.mechanism) (include "weighbridge.hasAuth" .Values.kafka.auth) }}
kafka.auth.mechanism: is needed with a user, for example SCRAM-SHA-512
{{- end }}
{{- end -}}

{{- define "weighbridge.validate.secrets" -}}
{{- range $name, $auth := dict "kafka.auth" .Values.kafka.auth "clickhouse.auth" .Values.clickhouse.auth "migrate.auth" .Values.migrate.auth }}
{{- if and $auth.existingSecret $auth.password }}
{{ $name }}.existingSecret: is set together with a password; keep one of them
{{- else if and $auth.password (not $auth.username) }}
{{ $name }}.username: is needed with a password
{{- end }}
{{- end }}
{{- if (default (dict) .Values.config.clickhouse).password }}
config.clickhouse.password: would be in a ConfigMap; use clickhouse.auth
{{- end }}
{{- range $name, $_ := default (dict) (default (dict) .Values.config.kafka).properties }}
{{- if regexMatch "password|secret|key\\.pem|oauthbearer\\.(config|client)|jaas" $name }}
config.kafka.properties.{{ $name }}: would be in a ConfigMap; use kafka.auth, or a variable WEIGHBRIDGE_KAFKA_PROPERTIES_{{ $name | upper | replace "." "_" }} in extraEnv
{{- end }}
{{- end }}
{{- end -}}

{{- define "weighbridge.validate.door" -}}
{{- if .Values.ingest.enabled -}}
{{- $door := .Values.ingest.door -}}
{{- $tls := .Values.ingest.tls -}}
{{- $written := (default (dict) (default (dict) .Values.config.ingest).door).mode -}}
{{- if and $written (ne $written $door.mode) }}
config.ingest.door.mode: differs from ingest.door.mode; set that one only
{{- end }}
{{- if and $door.existingSecret (or $door.contributors $door.pseudonymKey) }}
ingest.door.existingSecret: is set together with contributors or pseudonymKey; keep one of them
{{- end }}
{{- if eq $door.mode "registered" }}
{{- if not (or $door.existingSecret (and $door.contributors $door.pseudonymKey)) }}
ingest.door.existingSecret: is needed with mode registered: a Secret with contributors.json and pseudonym.key, which `weighbridge-aggregator contributor add` makes. On a network where everybody is trusted: ingest.door.mode=open
{{- end }}
{{- if eq $tls.mode "none" }}
ingest.tls.mode: must be certManager or existingSecret with ingest.door.mode registered: tokens do not travel in the clear
{{- end }}
{{- end }}
{{- if and (eq $tls.mode "existingSecret") (not $tls.existingSecret) }}
ingest.tls.existingSecret: is needed with mode existingSecret: a Secret with tls.crt and tls.key
{{- end }}
{{- if and (ne $tls.mode "existingSecret") $tls.existingSecret }}
ingest.tls.mode: must be existingSecret, because ingest.tls.existingSecret is given
{{- end }}
{{- if and (eq $tls.mode "certManager") (not $tls.certManager.issuerRef.name) }}
ingest.tls.certManager.issuerRef.name: is needed with mode certManager
{{- end }}
{{- if and (eq $tls.mode "none") $tls.clientCASecret }}
ingest.tls.clientCASecret: needs ingest.tls.mode certManager or existingSecret
{{- end }}
{{- end -}}
{{- end -}}

{{- define "weighbridge.validate.scaling" -}}
{{- $config := include "weighbridge.config" . | fromYaml -}}
{{- $load := .Values.load -}}
{{- $partitions := int $config.kafka.partitions -}}
{{- if and $load.autoscaling.enabled $load.keda.enabled }}
load.keda.enabled: cannot be together with load.autoscaling.enabled: both would set the replicas
{{- end }}
{{- $most := dict "load.replicaCount" $load.replicaCount -}}
{{- if $load.autoscaling.enabled }}{{ $most = dict "load.autoscaling.maxReplicas" $load.autoscaling.maxReplicas }}{{ end -}}
{{- if $load.keda.enabled }}{{ $most = dict "load.keda.maxReplicas" $load.keda.maxReplicas }}{{ end -}}
{{- range $name, $count := $most }}
{{- if and $load.enabled (gt (int $count) $partitions) }}
{{ $name }}: {{ $count }} loads cannot share {{ $partitions }} partitions (kafka.partitions); the others would wait for nothing
{{- end }}
{{- end }}
{{- range $name, $scaling := dict "ingest.autoscaling" .Values.ingest.autoscaling "load.autoscaling" $load.autoscaling "load.keda" $load.keda }}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
{{ $name }}.minReplicas: is over maxReplicas
{{- end }}
{{- end }}
{{- range $component := list "ingest" "load" }}
{{- $values := get $.Values $component }}
{{- $drain := default 20000 (default (dict) (get $.Values.config $component)).drain_ms }}
{{- if and $values.enabled (le (mul 1000 (int $values.terminationGracePeriodSeconds)) (int64 $drain)) }}
{{ $component }}.terminationGracePeriodSeconds: must be over config.{{ $component }}.drain_ms, {{ int64 $drain }} ms
{{- end }}
{{- end }}
{{- end -}}

{{- define "weighbridge.validate.sidecar" -}}
{{- $sidecar := .Values.sidecar -}}
{{- if $sidecar.enabled -}}
{{- if not $sidecar.config.source }}
sidecar.config.source: is needed with sidecar.enabled, for example {otlp: {profile: litellm, signal: traces}}; `weighbridge-collector doctor` names the right one
{{- end }}
{{- if not (or .Values.ingest.enabled $sidecar.endpoint (default (dict) $sidecar.config.uplink).endpoint) }}
sidecar.endpoint: is needed where ingest is not installed, for example https://ingest.example.org:4750
{{- end }}
{{- $spool := int64 (default 0 (default (dict) $sidecar.config.spool).max_bytes) -}}
{{- if and (gt $spool 67108864) (eq $sidecar.dataSizeLimit "128Mi") }}
sidecar.dataSizeLimit: must be raised with sidecar.config.spool.max_bytes, to 48Mi more than it; over it the kubelet evicts the gateway's pod
{{- end }}
{{- if and $sidecar.clientCertificateSecret (or $sidecar.token $sidecar.useToken) }}
sidecar.clientCertificateSecret: is set together with a token; keep one of them
{{- end }}
{{- end -}}
{{- end -}}
