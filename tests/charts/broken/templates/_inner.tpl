{{- define "broken.inner" -}}
{{ .Values.there.is.nothing }}
{{- end -}}
