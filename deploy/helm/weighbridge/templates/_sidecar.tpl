{{/*
The collector beside a gateway, for the pods of any chart. All templates take this chart's context: `.` in here, `.Subcharts.weighbridge`
in a chart that depends on it (there by its alias, if it has one). README.md shows how.

  weighbridge.sidecar                  the container alone, as a list of one
  weighbridge.sidecar.initContainers   the same where the cluster knows native sidecars, else nothing; first in the list
  weighbridge.sidecar.containers       the same where it does not, else nothing
  weighbridge.sidecar.volumes          its volumes, as a list
  weighbridge.sidecar.config           the content of collector.yaml
*/}}

{{/* "true" from Kubernetes 1.29 on, where the field is not behind a gate any more, or as `sidecar.native` says. */}}
{{- define "weighbridge.sidecar.isNative" -}}
{{- $native := .Values.sidecar.native -}}
{{- if or (eq $native "always") (and (eq $native "auto") (semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version)) -}}
true
{{- end -}}
{{- end -}}

{{- define "weighbridge.sidecar" -}}
{{- $sidecar := .Values.sidecar -}}
- name: weighbridge-collector
  image: {{ include "weighbridge.image" (dict "image" $sidecar.image "tag" .Chart.AppVersion) | quote }}
  imagePullPolicy: {{ $sidecar.image.pullPolicy }}
  {{- if include "weighbridge.sidecar.isNative" . }}
  restartPolicy: Always
  {{- end }}
  # --stand-by: if it cannot run (configuration, port, disk), it answers probes, says why, and tries again: the gateway starts.
  args: ["run", "--config", "/etc/weighbridge/collector.yaml", "--stand-by", "0.0.0.0:9464"]
  {{- with $sidecar.extraEnv }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: http-metrics
      containerPort: 9464
      protocol: TCP
  # No readiness probe: the gateway serves, whatever the collector does. The start-up probe asks its own process only.
  {{- if include "weighbridge.sidecar.isNative" . }}
  startupProbe:
    httpGet: {path: /livez, port: 9464}
    periodSeconds: 1
    failureThreshold: 10
  {{- end }}
  livenessProbe:
    httpGet: {path: /livez, port: 9464}
    periodSeconds: 10
    timeoutSeconds: 3
  lifecycle:
    preStop:
      exec:
        # From here on counts leave every second, while the gateway ends its streams.
        command: ["/weighbridge-collector", "drain"]
  resources:
    {{- toYaml $sidecar.resources | nindent 4 }}
  securityContext:
    {{- mergeOverwrite (deepCopy .Values.securityContext) $sidecar.securityContext | toYaml | nindent 4 }}
  volumeMounts:
    - name: weighbridge-config
      mountPath: /etc/weighbridge
      readOnly: true
    - name: weighbridge-data
      mountPath: /var/lib/weighbridge
    {{- with $sidecar.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "weighbridge.sidecar.initContainers" -}}
{{- if include "weighbridge.sidecar.isNative" . -}}
{{- include "weighbridge.sidecar" . -}}
{{- end -}}
{{- end -}}

{{- define "weighbridge.sidecar.containers" -}}
{{- if not (include "weighbridge.sidecar.isNative" .) -}}
{{- include "weighbridge.sidecar" . -}}
{{- end -}}
{{- end -}}

{{- define "weighbridge.sidecar.volumes" -}}
{{- $sidecar := .Values.sidecar -}}
- name: weighbridge-config
  projected:
    sources:
      - configMap:
          name: {{ $sidecar.configMap }}
          optional: true
          items:
            - {key: collector.yaml, path: collector.yaml}
      - secret:
          name: {{ $sidecar.tokenSecret }}
          optional: true
          items:
            - {key: token, path: credentials/token}
      {{- with $sidecar.caSecret }}
      - secret:
          name: {{ . }}
          items:
            - {key: {{ $sidecar.caKey | quote }}, path: ca.crt}
      {{- end }}
      {{- with $sidecar.clientCertificateSecret }}
      - secret:
          name: {{ . }}
          items:
            - {key: tls.crt, path: client/tls.crt}
            - {key: tls.key, path: client/tls.key}
      {{- end }}
- name: weighbridge-data
  emptyDir:
    sizeLimit: {{ $sidecar.dataSizeLimit }}
{{- end -}}

{{- define "weighbridge.sidecar.config" -}}
{{- $sidecar := .Values.sidecar -}}
{{- $scheme := ternary "http" "https" (eq .Values.ingest.tls.mode "none") -}}
{{- $host := printf "%s-ingest.%s.svc" (include "weighbridge.fullname" .) (include "weighbridge.namespace" .) -}}
{{- $own := printf "%s://%s:%d" $scheme $host (int .Values.ingest.service.port) -}}
{{- $uplink := dict "endpoint" (default $own $sidecar.endpoint) -}}
{{- if or $sidecar.useToken $sidecar.token -}}
{{- $_ := set $uplink "token_file" "/etc/weighbridge/credentials/token" -}}
{{- end -}}
{{- if $sidecar.caSecret -}}
{{- $_ := set $uplink "ca_file" "/etc/weighbridge/ca.crt" -}}
{{- end -}}
{{- if $sidecar.clientCertificateSecret -}}
{{- $_ := set $uplink "client_certificate_file" "/etc/weighbridge/client/tls.crt" -}}
{{- $_ := set $uplink "client_key_file" "/etc/weighbridge/client/tls.key" -}}
{{- end -}}
{{- /* Kubelet asks at the pod's address; telemetry is taken on loopback only. */ -}}
{{- $config := dict "data_folder" "/var/lib/weighbridge/data" "environment" "production" "uplink" $uplink -}}
{{- $_ := set $config "admin" (dict "listen" "0.0.0.0:9464") -}}
{{- /* The collector's default, written for the alert: with 32 MiB of ledger it stays below the 128 MiB of the volume, over which the kubelet
would evict the pod, and the gateway with it. */ -}}
{{- $_ := set $config "spool" (dict "max_bytes" 67108864) -}}
{{- mergeOverwrite $config (deepCopy $sidecar.config) | toYaml -}}
{{- end -}}
