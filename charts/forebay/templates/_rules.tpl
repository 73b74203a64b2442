{{/*
What the operator does on the API server, and no more. docs/rbac.md is made from these rules and the comments above them (`make
reference`); tests/reconciling/test_rights.py runs the operator under exactly these, and fails on each that it did not use.
*/}}

{{/* In each namespace that is watched. */}}
{{- define "forebay.rules" -}}
# Sources are seen, and each gets a finalizer: a source that is deleted goes when its broker is cleaned up.
- apiGroups: [forebay.dev]
  resources: [webhooksources]
  verbs: [list, watch, patch]
# What is so is said in the status.
- apiGroups: [forebay.dev]
  resources: [webhooksources/status]
  verbs: [patch]
# Some clusters ask for this (OpenShift; the admission plugin OwnerReferencesPermissionEnforcement): children name the source as the owner that waits for them.
- apiGroups: [forebay.dev]
  resources: [webhooksources/finalizers]
  verbs: [update]
# Children that a source always has: made, repaired; Kubernetes deletes them with the source.
- apiGroups: [""]
  resources: [serviceaccounts, services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch]
# Children that come and go with what the source says: made, repaired, deleted.
- apiGroups: [""]
  resources: [configmaps]
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
  resources: [prometheusrules]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects, triggerauthentications]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# Brokers' addresses are read; each source's own logins are written, and the secret that a provider sends, where it is to be captured. A change of a signing secret makes new pods, so all are watched, by their metadata.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch]
# What happens to a source is told in `kubectl describe`.
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* In the operator's own namespace: which replica acts. */}}
{{- define "forebay.leaseRules" -}}
# Of several replicas the one that holds the Lease acts. A name can not bound "create".
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "forebay.name" . }}]
  verbs: [get, update]
{{- end }}
