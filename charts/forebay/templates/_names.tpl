{{/* The release's objects: "forebay" for a release of that name, RELEASE-forebay for others. */}}
{{- define "forebay.name" -}}
{{- if contains "forebay" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-forebay{{ end -}}
{{- end }}

{{- define "forebay.account" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "forebay.name" .) }}
{{- else }}{{ .Values.serviceAccount.name | default "default" }}{{ end -}}
{{- end }}

{{/* What never changes of the pod's labels. */}}
{{- define "forebay.selector" -}}
app.kubernetes.io/name: forebay
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "forebay.labels" -}}
{{ include "forebay.selector" . }}
app.kubernetes.io/part-of: forebay
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* An image's full name; takes (list CONTEXT IMAGE). */}}
{{- define "forebay.image" -}}
{{- $image := last . -}}
{{- if $image.digest }}{{ printf "%s@%s" $image.repository $image.digest }}
{{- else }}{{ printf "%s:%s" $image.repository ($image.tag | default (first .).Chart.AppVersion) }}{{ end -}}
{{- end }}

{{/* What a schema can not say, or not clearly. */}}
{{- define "forebay.check" -}}
{{- if ne (empty .Values.defaultBroker.namespace) (empty .Values.defaultBroker.name) }}
{{- fail "defaultBroker needs both namespace and name, or neither: it is the Secret with the broker's uri" }}
{{- end }}
{{- if gt (len (include "forebay.name" .)) 52 }}
{{- fail (printf "the release's name %q is too long: take one of at most 44 characters" .Release.Name) }}
{{- end }}
{{- end }}

{{/* Whether the CRD is to come with this release: not where somebody has applied it by other means, who will also upgrade it.
One that another release of Helm brought is not left out: Helm then says whose it is. */}}
{{- define "forebay.bringsCrd" -}}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "webhooksources.forebay.dev" | default dict }}
{{- $by := dig "metadata" "labels" "app.kubernetes.io/managed-by" "" $there }}
{{- if and .Values.crds.install (or (empty $there) (eq $by "Helm")) }}true{{ end }}
{{- end }}
