{{/* What the pods of ingest, load, migrate and of the test share. */}}

{{/* A container of the aggregator. Takes a dict: context, component, name, values (of the component), args, env and ports (texts). With
isBare the component's further arguments, mounts, probes and lifecycle are left out: for a container that only waits. */}}
{{- define "weighbridge.container" -}}
{{- $values := .context.Values -}}
{{- $own := ternary (dict) .values (default false .isBare) -}}
- name: {{ .name }}
  image: {{ include "weighbridge.image" (dict "image" $values.image "tag" .context.Chart.AppVersion) | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  args:
    {{- toYaml .args | nindent 4 }}
    - --config=/etc/weighbridge/config/aggregator.yaml
    {{- with $own.extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $env := .env }}
  {{- with .values.extraEnv }}
  {{- $env = printf "%s\n%s" $env (toYaml .) }}
  {{- end }}
  {{- with trim $env }}
  env:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .values.extraEnvFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .ports }}
  ports:
    {{- . | nindent 4 }}
  {{- end }}
  {{- range $field := list "startupProbe" "livenessProbe" "readinessProbe" "lifecycle" }}
  {{- with get $own $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  resources:
    {{- toYaml .values.resources | nindent 4 }}
  securityContext:
    {{- mergeOverwrite (deepCopy $values.securityContext) (default (dict) .values.securityContext) | toYaml | nindent 4 }}
  volumeMounts:
    {{- include "weighbridge.volumeMounts" (dict "context" .context "component" .component) | nindent 4 }}
    {{- with .values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Labels and annotations of a pod template. Takes a dict: context, component, values. A changed configuration or Secret of the
release starts new pods. */}}
{{- define "weighbridge.podMetadata" -}}
{{- $annotations := dict -}}
{{- if not .context.Values.existingConfigMap -}}
{{- $_ := set $annotations "checksum/config" (include "weighbridge.config" .context | sha256sum) -}}
{{- end -}}
{{- with include "weighbridge.secretData" .context | fromYaml -}}
{{- $_ := set $annotations "checksum/secrets" (toYaml . | sha256sum) -}}
{{- end -}}
labels:
  {{- $labels := include "weighbridge.labels" (dict "context" .context "component" .component) | fromYaml }}
  {{- mergeOverwrite (deepCopy .values.podLabels) $labels | toYaml | nindent 2 }}
{{- with mergeOverwrite $annotations .values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The pod's spec. Takes a dict: context, component, values, container and wait (texts). */}}
{{- define "weighbridge.podSpec" -}}
{{- $values := .context.Values -}}
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "weighbridge.serviceAccountName" .context }}
automountServiceAccountToken: false
# A Service weighbridge-ingest would set WEIGHBRIDGE_INGEST_PORT, which is no field of the configuration.
enableServiceLinks: false
securityContext:
  {{- mergeOverwrite (deepCopy $values.podSecurityContext) .values.podSecurityContext | toYaml | nindent 2 }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- with trim (printf "%s\n%s" (default "" .wait) (empty .values.initContainers | ternary "" (toYaml .values.initContainers))) }}
initContainers:
  {{- . | nindent 2 }}
{{- end }}
containers:
  {{- .container | nindent 2 }}
  {{- with .values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
  {{- include "weighbridge.volumes" (dict "context" .context "component" .component) | nindent 2 }}
  {{- with .values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $.values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- if hasKey .values "topologySpreadConstraints" }}
topologySpreadConstraints:
  {{- include "weighbridge.topologySpread" (dict "context" .context "component" .component "values" .values) | trim | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The Secrets that the chart makes, by the part of their name after the full name: YAML of name to data. */}}
{{- define "weighbridge.secretData" -}}
{{- $data := dict -}}
{{- $auths := dict "kafka" .Values.kafka.auth "clickhouse" .Values.clickhouse.auth "clickhouse-migrate" .Values.migrate.auth -}}
{{- range $name, $auth := $auths -}}
{{- if and (not $auth.existingSecret) (or $auth.username $auth.password) -}}
{{- $_ := set $data $name (dict "username" $auth.username "password" $auth.password) -}}
{{- end -}}
{{- end -}}
{{- $door := .Values.ingest.door -}}
{{- if and .Values.ingest.enabled (eq $door.mode "registered") (not $door.existingSecret) -}}
{{- $_ := set $data "door" (dict "contributors.json" $door.contributors "pseudonym.key" $door.pseudonymKey) -}}
{{- end -}}
{{- toYaml $data -}}
{{- end -}}
