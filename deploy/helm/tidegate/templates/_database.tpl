{{/* How a role reaches the database: (dict "root" . "role" "migrator"), as items of `env`; and of `envFrom`. */}}

{{- define "tidegate.connection" -}}
{{- $role := get .root.Values.database .role -}}
{{- $secret := include "tidegate.secretName" . -}}
{{- if eq $role.connection "url" -}}
- name: DB_URL
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $role.urlKey }}
{{- else if eq $role.connection "parts" -}}
- name: DB_HOST
  value: {{ $role.host | quote }}
- name: DB_PORT
  value: {{ $role.port | toString | quote }}
- name: DB_NAME
  value: {{ $role.name | quote }}
- name: DB_USER
  value: {{ $role.user | quote }}
- name: DB_PASS
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $role.passwordKey }}
- name: DB_SSL_DISABLE
  value: {{ $role.sslDisable | toString | quote }}
{{- end }}
{{- with $role.options }}
- name: {{ ternary "DB_MIGRATIONS_OPTIONS" "DB_OPTIONS" (eq $.role "migrator") }}
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "tidegate.connectionFrom" -}}
{{- if eq (get .root.Values.database .role).connection "envFrom" -}}
- secretRef:
    name: {{ include "tidegate.secretName" . }}
{{- end }}
{{- end }}

{{/* The settings that every Tidegate container shares. */}}
{{- define "tidegate.settings" -}}
{{- with .Values.versionTable.name }}
- name: DB_MIGRATIONS_TABLE
  value: {{ . | quote }}
- name: DB_MIGRATIONS_TABLE_QUOTED
  value: {{ $.Values.versionTable.quoted | toString | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ include "tidegate.text" $value | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A scalar as text: a large number of a values file is a float, which would become 1e+06. */}}
{{- define "tidegate.text" -}}
{{- if kindIs "float64" . }}{{ . | toJson }}{{ else }}{{ . | toString }}{{ end -}}
{{- end }}
