{{/* What no schema can say: values that contradict each other. Each message names the values and what to do. */}}

{{- define "tidegate.check.sql" -}}
{{- $sql := .Values.sql -}}
{{- if and (eq $sql.from "copy") (not (or $sql.copy.image .Values.api.image)) -}}
{{- fail "sql.from is copy, and neither sql.copy.image nor api.image is set: name the image that holds the migrations" -}}
{{- end -}}
{{- if eq $sql.from "imageVolume" -}}
{{- if not (or $sql.imageVolume.reference .Values.api.image) -}}
{{- fail "sql.from is imageVolume, and neither sql.imageVolume.reference nor api.image is set: name the image that holds the migrations" -}}
{{- end -}}
{{- if not (semverCompare ">=1.31.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "sql.from is imageVolume, which Kubernetes %s does not have: it needs 1.31, and up to 1.34 the feature gate ImageVolume; take copy or configMap" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- if eq $sql.from "configMap" -}}
{{- if not $sql.configMap.name | eq (not $sql.configMap.files) -}}
{{- fail "sql.from is configMap: set either sql.configMap.name, a ConfigMap of yours, or sql.configMap.files" -}}
{{- end -}}
{{- $size := 0 -}}
{{- range $text := $sql.configMap.files }}{{ $size = add $size (len $text) }}{{ end -}}
{{- if gt $size 1048576 -}}
{{- fail (printf "sql.configMap.files hold %d bytes, and a ConfigMap at most 1048576: derive an image from Tidegate's (sql.from: image), or take copy or imageVolume" $size) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tidegate.check.gate" -}}
{{- $shape := .Values.shape -}}
{{- $requirement := .Values.api.requirement -}}
{{- if and (has $shape (list "initContainer" "sidecar")) (not .Values.api.image) -}}
{{- fail (printf "shape is %s, which stands in an API's pod: set api.image, or shape: library and include the container in your own chart" $shape) -}}
{{- end -}}
{{- if and .Values.api.image (eq $shape "library") -}}
{{- fail "shape is library, which renders no API: leave api.image empty" -}}
{{- end -}}
{{- if and .Values.api.image (not $requirement) -}}
{{- if has $shape (list "deployment" "job") -}}
{{- fail (printf "api.requirement is empty, and in the shape %s the API's pod waits for it: say version:V, bundle:LABEL or directory" $shape) -}}
{{- end -}}
{{- if and (eq $shape "initContainer") (eq .Values.sql.from "published") -}}
{{- fail "api.requirement is empty and sql.from is published: up has nothing to do until a bundle is published, so say version:V or bundle:LABEL" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $requirement "directory") (eq .Values.sql.from "published") -}}
{{- fail "api.requirement is directory, and sql.from is published, which gives none: say version:V or bundle:LABEL" -}}
{{- end -}}
{{- if .Values.job.activeDeadlineSeconds -}}
{{- if lt (int .Values.job.activeDeadlineSeconds) (int .Values.migrationSeconds) -}}
{{- fail (printf "job.activeDeadlineSeconds is %d, below migrationSeconds (%d): it would end a long migration half-way" (int .Values.job.activeDeadlineSeconds) (int .Values.migrationSeconds)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tidegate.check.secrets" -}}
{{- range $name := list "migrator" "api" -}}
{{- $role := get $.Values.database $name -}}
{{- $key := ternary $role.urlKey (ternary $role.passwordKey "" (eq $role.connection "parts")) (eq $role.connection "url") -}}
{{- if and $role.createSecret $role.existingSecret -}}
{{- fail (printf "database.%s.existingSecret and createSecret are both set: set one of them" $name) -}}
{{- end -}}
{{- if and $role.createSecret $key (not (hasKey $role.createSecret $key)) -}}
{{- fail (printf "database.%s.createSecret has no key %s, which connection: %s reads" $name $key $role.connection) -}}
{{- end -}}
{{- if and (eq $role.connection "parts") (not (and $role.host $role.name $role.user)) -}}
{{- fail (printf "database.%s.connection is parts: set host, name and user too" $name) -}}
{{- end -}}
{{- end -}}
{{- $secret := include "tidegate.secretName" (dict "root" . "role" "migrator") -}}
{{- if eq $secret (include "tidegate.secretName" (dict "root" . "role" "api")) -}}
{{- fail (printf "database.migrator and database.api name one Secret, %s: the API would hold the migrator's password; make two" $secret) -}}
{{- end -}}
{{- if regexMatch (printf `"(name|secretName)":"%s"` (regexQuoteMeta $secret)) (pick .Values.api "env" "envFrom" "volumes" | toJson) -}}
{{- fail (printf "api names the Secret %s, which is the migrator's: give the API its own" $secret) -}}
{{- end -}}
{{- $own := list -}}
{{- range .Values.api.volumes }}{{ $own = append $own .name }}{{ end -}}
{{- range .Values.api.volumeMounts -}}
{{- if not (has .name $own) -}}
{{- fail (printf "api.volumeMounts names the volume %s, which is not in api.volumes" .name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tidegate.check.settings" -}}
{{- $own := dict "TIDEGATE_DRAIN_TIMEOUT" "drainSeconds" "TIDEGATE_READERS" "readers" "TIDEGATE_HTTP_HOST" "httpHost" "TIDEGATE_REQUIRE" "api.requirement" "TIDEGATE_TRUSTED_KEYS" "trust.keys" "TIDEGATE_TRUST" "trust.policy" "TIDEGATE_AUDIENCE" "trust.audience" "TIDEGATE_MIN_SEQUENCE" "trust.minSequence" -}}
{{- if and .Values.trust.keys .Values.trust.configMap -}}
{{- fail "trust.keys and trust.configMap are both set: set one of them" -}}
{{- end -}}
{{- if and (include "tidegate.trust.isSet" .) (not .Values.trust.audience) -}}
{{- fail "trust has keys and no audience: set trust.audience to the id that the bundles are signed for" -}}
{{- end -}}
{{- if and .Values.trust.policy (ne .Values.trust.policy "off") (not (include "tidegate.trust.isSet" .)) -}}
{{- fail (printf "trust.policy is %s, and no key is trusted: set trust.keys or trust.configMap" .Values.trust.policy) -}}
{{- end -}}
{{- $fixed := list "TIDEGATE_HTTP_PORT" "TIDEGATE_TIMEOUT" "TIDEGATE_ADVISORY_TIMEOUT" -}}
{{- range $name, $_ := .Values.settings -}}
{{- if hasKey $own $name -}}
{{- fail (printf "settings.%s has a value of its own: set %s" $name (get $own $name)) -}}
{{- end -}}
{{- if has $name $fixed -}}
{{- fail (printf "settings.%s is set by this chart, whose probes and waits depend on it: leave it out" $name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tidegate.check.extras" -}}
{{- $shape := .Values.shape -}}
{{- range $where, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels "api.podLabels" .Values.api.podLabels "monitor.labels" .Values.monitor.labels "prometheusRule.labels" .Values.prometheusRule.labels "dashboard.labels" .Values.dashboard.labels -}}
{{- range $name, $_ := $labels -}}
{{- if or (hasPrefix "app.kubernetes.io/" $name) (hasPrefix "helm.sh/" $name) -}}
{{- fail (printf "%s sets %s, a label of this chart's own, which its selectors need: leave it out" $where $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $kind := .Values.monitor.kind -}}
{{- if and (ne $kind "none") (not (has $shape (list "deployment" "sidecar"))) -}}
{{- fail (printf "monitor.kind is %s, and in the shape %s nothing listens: set it to none" $kind $shape) -}}
{{- end -}}
{{- if and (eq $kind "service") (eq $shape "sidecar") -}}
{{- fail "monitor.kind is service, and a sidecar has no Service: set it to pod" -}}
{{- end -}}
{{- if and .Values.prometheusRule.enabled (not (has $shape (list "deployment" "sidecar"))) -}}
{{- fail (printf "prometheusRule is enabled, and in the shape %s no worker stays whose absence could alert: leave it off" $shape) -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (has $shape (list "job" "library")) -}}
{{- fail (printf "podDisruptionBudget is enabled, and the shape %s has no Deployment to protect: leave it off" $shape) -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not (has $shape (list "deployment" "job"))) -}}
{{- fail (printf "networkPolicy is enabled, and in the shape %s Tidegate has no pod of its own: write one for your API's pods" $shape) -}}
{{- end -}}
{{- end }}
