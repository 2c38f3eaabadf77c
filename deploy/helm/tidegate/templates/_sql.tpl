{{/* How the migrations reach a container. */}}

{{/* The directory to read, or nothing where bundles are published. */}}
{{- define "tidegate.sql.directory" -}}
{{- $from := .Values.sql.from -}}
{{- if eq $from "image" -}}
{{ .Values.sql.directory }}
{{- else if eq $from "imageVolume" -}}
/tidegate/image{{ .Values.sql.directory }}
{{- else if ne $from "published" -}}
/tidegate/sql
{{- end -}}
{{- end }}

{{- define "tidegate.sql.volumes" -}}
{{- $sql := .Values.sql -}}
{{- if eq $sql.from "copy" -}}
- name: tidegate-sql
  emptyDir: {}
{{- else if eq $sql.from "imageVolume" -}}
- name: tidegate-sql
  image:
    reference: {{ $sql.imageVolume.reference | default .Values.api.image }}
    pullPolicy: {{ $sql.imageVolume.pullPolicy }}
{{- else if eq $sql.from "configMap" -}}
- name: tidegate-sql
  configMap:
    name: {{ include "tidegate.configMapName" . }}
{{- end -}}
{{- end }}

{{- define "tidegate.sql.mounts" -}}
{{- $from := .Values.sql.from -}}
{{- if has $from (list "copy" "configMap" "imageVolume") -}}
- name: tidegate-sql
  mountPath: {{ ternary "/tidegate/image" "/tidegate/sql" (eq $from "imageVolume") }}
  readOnly: true
{{- end -}}
{{- end }}

{{/*
The init container that copies. It runs as Tidegate's user, who can then read what it wrote, and needs cp but no shell;
-f lets it run again over files that are read-only.
*/}}
{{- define "tidegate.sql.copy" -}}
{{- if eq .Values.sql.from "copy" -}}
- name: tidegate-copy
  image: {{ .Values.sql.copy.image | default .Values.api.image }}
  imagePullPolicy: {{ .Values.sql.copy.pullPolicy }}
  command: [cp, -RLf, {{ printf "%s/." (trimSuffix "/" .Values.sql.directory) | quote }}, /tidegate/sql]
  securityContext:
    {{- include "tidegate.securityContext" . | nindent 4 }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  volumeMounts:
    - name: tidegate-sql
      mountPath: /tidegate/sql
{{ end -}}
{{- end }}

{{/* Changes whenever the migrations in the values do, so that pods are made anew. */}}
{{- define "tidegate.sql.checksum" -}}
{{- with .Values.sql.configMap.files -}}
tidegate/sql: {{ toJson . | sha256sum }}
{{- end -}}
{{- end }}
