{{/*
Tidegate's containers. waitContainer, upContainer, sidecar and volumes are for other charts too; README.md shows how.
`root` is this chart's own context: `.` in here, `.Subcharts.tidegate` in a chart that depends on it.
*/}}

{{/* Items of initContainers: wait for a requirement with the API's role. (dict "root" … "requirement" "version:12"). */}}
{{- define "tidegate.waitContainer" -}}
{{- $requirement := required "tidegate.waitContainer: state a requirement: version:V, bundle:LABEL or directory" .requirement -}}
{{- $directory := eq $requirement "directory" -}}
{{- if and $directory (not .copied) }}{{ include "tidegate.sql.copy" .root }}{{ end -}}
- name: tidegate-wait
  {{- include "tidegate.container" (dict "root" .root "role" "api" "sql" $directory) | nindent 2 }}
  args:
    - wait
    - --timeout=none
    - --require={{ ternary (printf "dir:%s" (include "tidegate.sql.directory" .root)) $requirement $directory }}
    {{- with .target }}
    - --target={{ . }}
    {{- end }}
{{- end }}

{{/* Items of initContainers: migrate, and end. (dict "root" …). */}}
{{- define "tidegate.upContainer" -}}
{{ include "tidegate.sql.copy" .root -}}
{{ include "tidegate.jobContainer" . }}
{{- end }}

{{- define "tidegate.jobContainer" -}}
- name: tidegate-up
  {{- include "tidegate.container" (dict "root" .root "role" "migrator" "sql" true) | nindent 2 }}
  # Whoever comes second waits for the first, however long that takes.
  args: [up, --advisory-timeout=none]
{{- end }}

{{/* Items of initContainers: a worker that holds back what comes after it. (dict "root" … "requirement" "version:12"). */}}
{{- define "tidegate.sidecar" -}}
{{- $seconds := .root.Values.migrationSeconds | int -}}
{{ include "tidegate.sql.copy" .root -}}
- name: tidegate
  # An init container with this policy goes on beside the containers that it let start.
  restartPolicy: Always
  {{- include "tidegate.container" (dict "root" .root "role" "migrator" "sql" true "host" "pod") | nindent 2 }}
  args: [run]
  ports:
    - name: tidegate
      containerPort: 8017
  startupProbe:
    httpGet:
      path: {{ include "tidegate.readyz" . | quote }}
      port: tidegate
    periodSeconds: 2
    timeoutSeconds: 3
    failureThreshold: {{ div (add $seconds 1) 2 }}
  livenessProbe:
    {{- include "tidegate.liveness" . | nindent 4 }}
{{- end }}

{{/* Items of volumes: what those containers mount. (dict "root" …). */}}
{{- define "tidegate.volumes" -}}
{{ include "tidegate.sql.volumes" .root }}
{{ include "tidegate.trust.volume" .root }}
{{ include "tidegate.extraVolumes" .root }}
{{- end }}

{{- define "tidegate.extraVolumes" -}}
{{- with .Values.extraVolumes }}{{ toYaml . }}{{ end -}}
{{- end }}

{{/* The worker of the shape deployment. */}}
{{- define "tidegate.workerContainer" -}}
- name: tidegate
  {{- include "tidegate.container" (dict "root" .root "role" "migrator" "sql" true "host" .root.Values.httpHost) | nindent 2 }}
  args: [run]
  ports:
    - name: tidegate
      containerPort: 8017
  # Answers as soon as the settings are read, whatever the database does.
  startupProbe:
    httpGet:
      path: /startupz
      port: tidegate
    periodSeconds: 2
    timeoutSeconds: 3
    failureThreshold: 60
  livenessProbe:
    {{- include "tidegate.liveness" . | nindent 4 }}
  readinessProbe:
    httpGet:
      path: /readyz
      port: tidegate
    periodSeconds: 5
    timeoutSeconds: 3
{{- end }}

{{/* The event loop turns, and no more than that: neither progress nor the database. */}}
{{- define "tidegate.liveness" -}}
httpGet:
  path: /livez
  port: tidegate
periodSeconds: 10
timeoutSeconds: 5
failureThreshold: 6
{{- end }}

{{/* The probe's path for a requirement; without one the worker answers for all that it is given. */}}
{{- define "tidegate.readyz" -}}
{{- $requirement := .requirement | default "" -}}
{{- $query := list -}}
{{- if hasPrefix "version:" $requirement -}}
{{- $query = append $query (printf "at_least=%s" (trimPrefix "version:" $requirement)) -}}
{{- else if hasPrefix "bundle:" $requirement -}}
{{- $query = append $query (printf "bundle=%s" (trimPrefix "bundle:" $requirement | urlquery)) -}}
{{- end -}}
{{- with .target }}{{ $query = append $query (printf "target=%s" (urlquery .)) }}{{ end -}}
/readyz{{ with $query }}?{{ join "&" . }}{{ end }}
{{- end }}

{{/* What they share: (dict "root" … "role" "migrator" "sql" true "host" "pod"); `host` only where it listens. */}}
{{- define "tidegate.container" -}}
{{- $root := .root -}}
image: {{ include "tidegate.image" $root }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
env:
  {{- with include "tidegate.connection" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if eq .role "migrator" }}
  {{- with include "tidegate.sql.directory" $root }}
  - name: DB_SCHEMA_DIR
    value: {{ . | quote }}
  {{- end }}
  {{- with $root.Values.readers }}
  - name: TIDEGATE_READERS
    value: {{ join "," . | quote }}
  {{- end }}
  {{- with include "tidegate.trust.env" $root }}
  {{- . | nindent 2 }}
  {{- end }}
  - name: TIDEGATE_DRAIN_TIMEOUT
    value: {{ printf "%ds" (int $root.Values.drainSeconds) }}
  {{- end }}
  {{- with .host }}
  - name: TIDEGATE_HTTP_HOST
    {{- if eq . "pod" }}
    # On loopback, or on all addresses, the API beside it could read the status page.
    valueFrom:
      fieldRef:
        fieldPath: status.podIP
    {{- else }}
    value: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- with include "tidegate.settings" $root }}
  {{- . | nindent 2 }}
  {{- end }}
{{- with include "tidegate.connectionFrom" . }}
envFrom:
  {{- . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "tidegate.securityContext" $root | nindent 2 }}
resources:
  {{- toYaml $root.Values.resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
{{- $trust := ternary (include "tidegate.trust.mount" $root) "" (eq .role "migrator") }}
{{- if or (and .sql (include "tidegate.sql.mounts" $root)) $trust $root.Values.extraVolumeMounts }}
volumeMounts:
  {{- with $trust }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if .sql }}
  {{- with include "tidegate.sql.mounts" $root }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- with $root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The API, with its own role alone. */}}
{{- define "tidegate.apiContainer" -}}
{{- $api := .Values.api -}}
{{- $role := dict "root" . "role" "api" -}}
- name: api
  image: {{ $api.image }}
  imagePullPolicy: {{ $api.pullPolicy }}
  {{- with $api.command }}
  command:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $api.args }}
  args:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: http
      containerPort: {{ $api.port }}
  {{- $env := compact (list (include "tidegate.connection" $role) (empty $api.env | ternary "" (toYaml $api.env))) }}
  {{- with $env }}
  env:
    {{- join "\n" . | nindent 4 }}
  {{- end }}
  {{- $from := compact (list (include "tidegate.connectionFrom" $role) (empty $api.envFrom | ternary "" (toYaml $api.envFrom))) }}
  {{- with $from }}
  envFrom:
    {{- join "\n" . | nindent 4 }}
  {{- end }}
  {{- with pick $api "startupProbe" "readinessProbe" "livenessProbe" "resources" }}
  {{- range $name, $value := . }}
  {{- with $value }}
  {{ $name }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- end }}
  securityContext:
    {{- include "tidegate.api.securityContext" . | nindent 4 }}
  {{- with $api.volumeMounts }}
  volumeMounts:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* As restricted as Tidegate's own, but with the image's user. Set key by key: merge would take false for nothing. */}}
{{- define "tidegate.api.securityContext" -}}
{{- $context := omit (include "tidegate.securityContext" . | fromYaml) "runAsUser" "runAsGroup" -}}
{{- range $name, $value := .Values.api.securityContext }}{{ $_ := set $context $name $value }}{{ end -}}
{{- toYaml $context -}}
{{- end }}
