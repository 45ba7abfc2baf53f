{{/* Names, labels and small parts. All take the chart's context. */}}

{{- define "weighbridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of all names: at most 40 characters, so that the longest suffix stays within the 63 of a label. */}}
{{- define "weighbridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "weighbridge.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "weighbridge.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "weighbridge.serviceAccountName" -}}
{{- $made := ternary (include "weighbridge.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end -}}

{{/* Labels that never change: selectors. Takes a dict: context, component. */}}
{{- define "weighbridge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "weighbridge.name" .context }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* All labels. Takes a dict: context, component. */}}
{{- define "weighbridge.labels" -}}
{{- $own := include "weighbridge.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" | trunc 63) -}}
{{- $_ := set $own "app.kubernetes.io/version" (toString .context.Chart.AppVersion) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .context.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "weighbridge" -}}
{{- mergeOverwrite (deepCopy .context.Values.commonLabels) $own | toYaml -}}
{{- end -}}

{{/* Name, namespace, labels and annotations of an object. Takes a dict: context, component, and where needed name, namespace,
labels, annotations. */}}
{{- define "weighbridge.metadata" -}}
{{- $name := printf "%s-%s" (include "weighbridge.fullname" .context) .component -}}
name: {{ default $name .name }}
namespace: {{ default (include "weighbridge.namespace" .context) .namespace }}
labels:
  {{- $labels := include "weighbridge.labels" . | fromYaml }}
  {{- mergeOverwrite $labels (default (dict) .labels) | toYaml | nindent 2 }}
{{- with mergeOverwrite (deepCopy .context.Values.commonAnnotations) (default (dict) .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* An image's name. Takes a dict: image (the values), tag (when they name none). */}}
{{- define "weighbridge.image" -}}
{{- with .image.registry }}{{ . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .tag .image.tag }}{{ end -}}
{{- end -}}

{{/* The name of the Secret with a user and a password: the existing one or the release's. Takes a dict: context, auth, component. */}}
{{- define "weighbridge.authSecret" -}}
{{- default (printf "%s-%s" (include "weighbridge.fullname" .context) .component) .auth.existingSecret -}}
{{- end -}}

{{/* Whether a user or a password is known: "true" or nothing. Takes the values of an `auth`. */}}
{{- define "weighbridge.hasAuth" -}}
{{- if or .existingSecret .username .password }}true{{ end -}}
{{- end -}}

{{/* Variables from a Secret with the password and, unless the values name it, the user. Takes a dict: context, auth, component, user and
password (names of variables). */}}
{{- define "weighbridge.authEnv" -}}
{{- $keys := ternary .auth.existingSecretKeys (dict "username" "username" "password" "password") (not (empty .auth.existingSecret)) -}}
{{- $secret := include "weighbridge.authSecret" . -}}
- name: {{ .user }}
  {{- if and .auth.existingSecret .auth.username }}
  value: {{ .auth.username | quote }}
  {{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $keys.username }}
  {{- end }}
- name: {{ .password }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $keys.password }}
{{- end -}}

{{/* Whether a component may have more than one pod: "true" or nothing. Takes the component's values. */}}
{{- define "weighbridge.isMany" -}}
{{- $keda := default (dict "enabled" false) .keda -}}
{{- $least := .replicaCount -}}
{{- if .autoscaling.enabled }}{{ $least = .autoscaling.minReplicas }}{{ end -}}
{{- if $keda.enabled }}{{ $least = $keda.minReplicas }}{{ end -}}
{{- if gt (int $least) 1 }}true{{ end -}}
{{- end -}}

{{/* Topology spread of a component: its own, or over nodes and zones where possible. Takes a dict: context, component, values. */}}
{{- define "weighbridge.topologySpread" -}}
{{- if .values.topologySpreadConstraints -}}
{{- toYaml .values.topologySpreadConstraints -}}
{{- else -}}
{{- $labels := include "weighbridge.selectorLabels" (dict "context" .context "component" .component) -}}
{{- range $index, $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- $labels | nindent 6 }}
{{- end -}}
{{- end -}}
{{- end -}}
