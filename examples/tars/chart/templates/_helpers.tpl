{{- /* image: name:tag or name:tag@digest of a service. Takes {root, service}. */ -}}
{{- define "tars.image" -}}
{{- $image := index .root.Values.images .service -}}
{{- $tag := $image.tag | default (printf "v%s" .root.Chart.AppVersion) -}}
{{- printf "%s:%s" $image.repository $tag -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- /* labels that tell whose a pod is; the part of them that never changes selects it. Takes {root, service}. */ -}}
{{- define "tars.selector" -}}
app: tars-{{ .service }}
deployment: {{ .root.Values.deployment }}
{{- end -}}

{{- define "tars.labels" -}}
app.kubernetes.io/name: tars
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end -}}

{{- define "tars.podLabels" -}}
{{ include "tars.selector" . }}
app.kubernetes.io/name: tars
app.kubernetes.io/instance: {{ .root.Release.Name }}
service: {{ .service }}
version: {{ .root.Chart.AppVersion | quote }}
{{- end -}}

{{- /* a host without a dot is a service of the release's namespace, by its full name: pods need no search path. Takes {root, host}. */ -}}
{{- define "tars.host" -}}
{{- if contains "." .host -}}{{ .host }}{{- else -}}{{ .host }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}{{- end -}}
{{- end -}}

{{- define "tars.podAnnotations" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "8080"
checksum/config: {{ include "tars.config" .root | sha256sum }}
{{- with .root.Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* the ConfigMap's data, which every pod gets as its environment. Takes the root. */ -}}
{{- define "tars.config" -}}
TARS_DEPLOYMENT: {{ .Values.deployment | quote }}
TARS_DRAIN_SECONDS: {{ .Values.drainSeconds | quote }}
TARS_FAULT_SWITCH: {{ .Values.faultSwitch | quote }}
GOMAXPROCS: {{ .Values.processors | quote }}
TARS_PPO_MEMORY_UNIT_MB: {{ .Values.ppoAgent.memoryUnitMb | quote }}
{{- range $name, $value := .Values.featureFlags }}
TARS_FEATURE_{{ upper $name }}: {{ $value | quote }}
{{- end }}
PGHOST: {{ include "tars.host" (dict "root" . "host" .Values.database.host) | quote }}
PGPORT: {{ .Values.database.port | quote }}
PGDATABASE: {{ .Values.database.name | quote }}
PGUSER: {{ .Values.database.user | quote }}
REDIS_ADDR: {{ printf "%s:%v" (include "tars.host" (dict "root" . "host" .Values.redis.host)) .Values.redis.port | quote }}
{{- end -}}

{{- define "tars.environment" -}}
envFrom:
  - configMapRef:
      name: {{ .Release.Name }}-config
env:
  - name: POD_IP
    valueFrom:
      fieldRef:
        fieldPath: status.podIP
  - name: PGPASSWORD
    valueFrom:
      secretKeyRef:
        name: {{ .Values.database.passwordSecret.name }}
        key: {{ .Values.database.passwordSecret.key }}
{{- end -}}

{{- /* the container's part that services and workers share. */ -}}
{{- define "tars.container" -}}
ports:
  - name: http
    containerPort: 8080
{{ include "tars.environment" . }}
readinessProbe:
  httpGet: {path: /ready, port: http}
  periodSeconds: 1
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 5
  failureThreshold: 3
lifecycle:
  # The router learns of the pod's end meanwhile; nothing refuses its requests.
  preStop:
    sleep: {seconds: 3}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "tars.podSpec" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
terminationGracePeriodSeconds: 20
securityContext:
  seccompProfile: {type: RuntimeDefault}
{{- end -}}
