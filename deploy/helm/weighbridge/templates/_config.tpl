{{/* The aggregator's configuration, as YAML: what the values say, and `config` merged over it. */}}
{{- define "weighbridge.config" -}}
{{- $kafka := dict "bootstrap_servers" .Values.kafka.bootstrapServers "topic" .Values.kafka.topic -}}
{{- $_ := set $kafka "partitions" (int .Values.kafka.partitions) -}}
{{- $_ := set $kafka "replication_factor" (int .Values.kafka.replicationFactor) -}}
{{- $_ := set $kafka "retention_hours" (int .Values.kafka.retentionHours) -}}
{{- with include "weighbridge.kafkaProperties" . | fromYaml -}}
{{- $_ := set $kafka "properties" . -}}
{{- end -}}
{{- $clickhouse := dict "url" .Values.clickhouse.url "database" .Values.clickhouse.database -}}
{{- if .Values.clickhouse.tls.caSecret -}}
{{- $_ := set $clickhouse "ca_file" (printf "/etc/weighbridge/clickhouse/%s" .Values.clickhouse.tls.caKey) -}}
{{- end -}}
{{- $door := dict "mode" .Values.ingest.door.mode -}}
{{- if eq .Values.ingest.door.mode "registered" -}}
{{- $_ := set $door "contributors_file" "/etc/weighbridge/door/contributors.json" -}}
{{- $_ := set $door "pseudonym_key_file" "/etc/weighbridge/door/pseudonym.key" -}}
{{- end -}}
{{- if ne .Values.ingest.tls.mode "none" -}}
{{- $_ := set $door "certificate_file" "/etc/weighbridge/tls/tls.crt" -}}
{{- $_ := set $door "key_file" "/etc/weighbridge/tls/tls.key" -}}
{{- with .Values.ingest.tls.clientCASecret -}}
{{- $_ := set $door "client_ca_file" (printf "/etc/weighbridge/client-ca/%s" $.Values.ingest.tls.clientCAKey) -}}
{{- end -}}
{{- end -}}
{{- $config := dict "kafka" $kafka "clickhouse" $clickhouse -}}
{{- $_ := set $config "ingest" (dict "listen" "0.0.0.0:4750" "door" $door) -}}
{{- $_ := set $config "admin" (dict "listen" "0.0.0.0:4751") -}}
{{- mergeOverwrite $config (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* librdkafka's properties that the values stand for; user and password come from the environment. */}}
{{- define "weighbridge.kafkaProperties" -}}
{{- $tls := .Values.kafka.tls -}}
{{- $auth := .Values.kafka.auth -}}
{{- $properties := dict -}}
{{- if or $tls.enabled $auth.mechanism -}}
{{- $protocol := printf "%s_%s" (ternary "SASL" "" (not (empty $auth.mechanism))) (ternary "SSL" "PLAINTEXT" $tls.enabled) -}}
{{- $_ := set $properties "security.protocol" (trimPrefix "_" $protocol) -}}
{{- end -}}
{{- with $auth.mechanism -}}
{{- $_ := set $properties "sasl.mechanism" . -}}
{{- end -}}
{{- if $tls.enabled -}}
{{- with $tls.caSecret -}}
{{- $_ := set $properties "ssl.ca.location" (printf "/etc/weighbridge/kafka-ca/%s" $tls.caKey) -}}
{{- end -}}
{{- with $tls.clientSecret -}}
{{- $_ := set $properties "ssl.certificate.location" (printf "/etc/weighbridge/kafka-client/%s" $tls.clientCertificateKey) -}}
{{- $_ := set $properties "ssl.key.location" (printf "/etc/weighbridge/kafka-client/%s" $tls.clientKeyKey) -}}
{{- end -}}
{{- end -}}
{{- toYaml $properties -}}
{{- end -}}

{{/* Kafka's user and password, if there are any. */}}
{{- define "weighbridge.kafkaEnv" -}}
{{- if include "weighbridge.hasAuth" .Values.kafka.auth -}}
{{- $names := dict "user" "WEIGHBRIDGE_KAFKA_PROPERTIES_SASL_USERNAME" "password" "WEIGHBRIDGE_KAFKA_PROPERTIES_SASL_PASSWORD" -}}
{{- include "weighbridge.authEnv" (merge $names (dict "context" . "auth" .Values.kafka.auth "component" "kafka")) -}}
{{- end -}}
{{- end -}}

{{/* ClickHouse's user and password, if there are any. Takes a dict: context, isMigrate. */}}
{{- define "weighbridge.clickhouseEnv" -}}
{{- $values := .context.Values -}}
{{- $auth := $values.clickhouse.auth -}}
{{- $component := "clickhouse" -}}
{{- if and .isMigrate (include "weighbridge.hasAuth" $values.migrate.auth) -}}
{{- $auth = $values.migrate.auth -}}
{{- $component = "clickhouse-migrate" -}}
{{- end -}}
{{- if include "weighbridge.hasAuth" $auth -}}
{{- $names := dict "user" "WEIGHBRIDGE_CLICKHOUSE_USER" "password" "WEIGHBRIDGE_CLICKHOUSE_PASSWORD" -}}
{{- include "weighbridge.authEnv" (merge $names (dict "context" .context "auth" $auth "component" $component)) -}}
{{- end -}}
{{- end -}}

{{/* A volume of a Secret. Only the pod's group may read it. Takes a dict: name, secret. */}}
{{- define "weighbridge.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 288 # 0440
{{- end -}}

{{/* Volumes of a pod of the aggregator. Takes a dict: context, component. */}}
{{- define "weighbridge.volumes" -}}
{{- $values := .context.Values -}}
{{- $full := include "weighbridge.fullname" .context -}}
- name: config
  configMap:
    name: {{ default $full $values.existingConfigMap }}
{{- if and $values.kafka.tls.enabled $values.kafka.tls.caSecret (ne .component "test") }}
{{ include "weighbridge.secretVolume" (dict "name" "kafka-ca" "secret" $values.kafka.tls.caSecret) }}
{{- end }}
{{- if and $values.kafka.tls.enabled $values.kafka.tls.clientSecret (ne .component "test") }}
{{ include "weighbridge.secretVolume" (dict "name" "kafka-client" "secret" $values.kafka.tls.clientSecret) }}
{{- end }}
{{- if and $values.clickhouse.tls.caSecret (ne .component "ingest") }}
{{ include "weighbridge.secretVolume" (dict "name" "clickhouse-ca" "secret" $values.clickhouse.tls.caSecret) }}
{{- end }}
{{- if eq .component "ingest" }}
{{- if eq $values.ingest.door.mode "registered" }}
{{ include "weighbridge.secretVolume" (dict "name" "door" "secret" (default (printf "%s-door" $full) $values.ingest.door.existingSecret)) }}
{{- end }}
{{- if ne $values.ingest.tls.mode "none" }}
{{ include "weighbridge.secretVolume" (dict "name" "tls" "secret" (include "weighbridge.tlsSecret" .context)) }}
{{- with $values.ingest.tls.clientCASecret }}
{{ include "weighbridge.secretVolume" (dict "name" "client-ca" "secret" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Mounts for these volumes. Folders beside each other: the files change when their Secrets do. Takes a dict: context, component. */}}
{{- define "weighbridge.volumeMounts" -}}
{{- $values := .context.Values -}}
- name: config
  mountPath: /etc/weighbridge/config
  readOnly: true
{{- if and $values.kafka.tls.enabled $values.kafka.tls.caSecret (ne .component "test") }}
- name: kafka-ca
  mountPath: /etc/weighbridge/kafka-ca
  readOnly: true
{{- end }}
{{- if and $values.kafka.tls.enabled $values.kafka.tls.clientSecret (ne .component "test") }}
- name: kafka-client
  mountPath: /etc/weighbridge/kafka-client
  readOnly: true
{{- end }}
{{- if and $values.clickhouse.tls.caSecret (ne .component "ingest") }}
- name: clickhouse-ca
  mountPath: /etc/weighbridge/clickhouse
  readOnly: true
{{- end }}
{{- if eq .component "ingest" }}
{{- if eq $values.ingest.door.mode "registered" }}
- name: door
  mountPath: /etc/weighbridge/door
  readOnly: true
{{- end }}
{{- if ne $values.ingest.tls.mode "none" }}
- name: tls
  mountPath: /etc/weighbridge/tls
  readOnly: true
{{- if $values.ingest.tls.clientCASecret }}
- name: client-ca
  mountPath: /etc/weighbridge/client-ca
  readOnly: true
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "weighbridge.tlsSecret" -}}
{{- if eq .Values.ingest.tls.mode "certManager" -}}
{{- include "weighbridge.fullname" . }}-ingest-tls
{{- else -}}
{{- .Values.ingest.tls.existingSecret -}}
{{- end -}}
{{- end -}}
