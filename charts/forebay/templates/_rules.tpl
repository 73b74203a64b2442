{{/*
What the operator does on the API server, and no more. Each rule has its reason in docs/rbac.md; tests hold them to the code.
*/}}

{{/* In each namespace that is watched. */}}
{{- define "forebay.rules" -}}
# Sources: seen; the finalizer and the status written. Who may set an owner that blocks deletion has to be let to its finalizers.
- apiGroups: [forebay.dev]
  resources: [webhooksources]
  verbs: [get, list, watch, patch]
- apiGroups: [forebay.dev]
  resources: [webhooksources/status]
  verbs: [patch]
- apiGroups: [forebay.dev]
  resources: [webhooksources/finalizers]
  verbs: [update]
# A source's children.
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors, prometheusrules]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects, triggerauthentications]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# Secrets: brokers' addresses are read, the components' logins written. They go with their source; nobody deletes them.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* In the operator's own namespace: which replica acts. A name can not bound "create". */}}
{{- define "forebay.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "forebay.name" . }}]
  verbs: [get, update]
{{- end }}
