{{/* Names and labels. */}}

{{- define "tidegate.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Short enough for the longest suffix, -up- and eight digits of a hash, to fit into 63 characters. */}}
{{- define "tidegate.fullname" -}}
{{- $name := include "tidegate.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "tidegate.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "tidegate.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* The Secret of a role: (dict "root" . "role" "migrator"). */}}
{{- define "tidegate.secretName" -}}
{{- $role := get .root.Values.database .role -}}
{{- $role.existingSecret | default (printf "%s-%s" (include "tidegate.fullname" .root) .role) -}}
{{- end }}

{{- define "tidegate.configMapName" -}}
{{- .Values.sql.configMap.name | default (printf "%s-sql" (include "tidegate.fullname" .)) -}}
{{- end }}

{{- define "tidegate.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What a selector may hold, for it can never change: (dict "root" . "component" "worker"). */}}
{{- define "tidegate.selector" -}}
app.kubernetes.io/name: {{ include "tidegate.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "tidegate.labels" -}}
{{- with .root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "tidegate.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* An object's metadata: (dict "root" . "component" "worker" "name" "…" "annotations" dict). */}}
{{- define "tidegate.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "tidegate.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
