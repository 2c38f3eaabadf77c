{{/* Whose signatures count: settings, keys and their volume, for containers that migrate. */}}

{{- define "tidegate.trust.isSet" -}}
{{- if or .Values.trust.keys .Values.trust.configMap -}}true{{- end -}}
{{- end }}

{{- define "tidegate.trust.configMapName" -}}
{{- .Values.trust.configMap | default (printf "%s-trust" (include "tidegate.fullname" .)) -}}
{{- end }}

{{- define "tidegate.trust.env" -}}
{{- if include "tidegate.trust.isSet" . -}}
- name: TIDEGATE_TRUSTED_KEYS
  value: /tidegate/trust
- name: TIDEGATE_TRUST
  value: {{ .Values.trust.policy | default "require" | quote }}
- name: TIDEGATE_AUDIENCE
  value: {{ .Values.trust.audience | quote }}
- name: TIDEGATE_MIN_SEQUENCE
  value: {{ int64 .Values.trust.minSequence | quote }}
{{- end -}}
{{- end }}

{{- define "tidegate.trust.mount" -}}
{{- if include "tidegate.trust.isSet" . -}}
- name: tidegate-trust
  mountPath: /tidegate/trust
  readOnly: true
{{- end -}}
{{- end }}

{{- define "tidegate.trust.volume" -}}
{{- if include "tidegate.trust.isSet" . -}}
- name: tidegate-trust
  configMap:
    name: {{ include "tidegate.trust.configMapName" . }}
{{- end -}}
{{- end }}
