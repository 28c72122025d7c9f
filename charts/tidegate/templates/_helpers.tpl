{{- define "tidegate.name" -}}
{{- default .Chart.Name .Values.nameOverride }}
{{- end }}

{{/* The name of most resources. 52 characters leave room for what is put behind it; two long names stay apart. */}}
{{- define "tidegate.fullname" -}}
{{- $name := include "tidegate.name" . }}
{{- $own := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- $full := default $own .Values.fullnameOverride }}
{{- if gt (len $full) 52 }}
{{- printf "%s-%s" (trunc 43 $full | trimSuffix "-") (sha256sum $full | trunc 8) }}
{{- else }}
{{- $full }}
{{- end }}
{{- end }}

{{- define "tidegate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tidegate.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Of the pod of `helm test`, which no Service selects. */}}
{{- define "tidegate.testLabels" -}}
app.kubernetes.io/name: {{ include "tidegate.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "tidegate.ownLabels" -}}
{{ include "tidegate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tidegate.labels" -}}
{{- mergeOverwrite (include "tidegate.ownLabels" . | fromYaml) (default dict .Values.commonLabels) | toYaml }}
{{- end }}

{{/* Name, namespace and labels of a resource. Call it with (list . "suffix" further-labels); the suffix may be empty. */}}
{{- define "tidegate.metadata" -}}
{{- $root := index . 0 }}
{{- $suffix := index . 1 }}
{{- $further := dict }}
{{- if gt (len .) 2 }}{{ $further = default dict (index . 2) }}{{ end -}}
name: {{ compact (list (include "tidegate.fullname" $root) $suffix) | join "-" | quote }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- mergeOverwrite (include "tidegate.labels" $root | fromYaml) $further | toYaml | nindent 2 }}
{{- end }}

{{- define "tidegate.serviceAccountName" -}}
{{- $own := ternary (include "tidegate.fullname" .) "default" .Values.serviceAccount.create }}
{{- default $own .Values.serviceAccount.name }}
{{- end }}

{{- define "tidegate.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tidegate.configMapName" -}}
{{- default (include "tidegate.fullname" .) .Values.existingConfigMap }}
{{- end }}

{{/* The Secret with certificate and key; empty without TLS, and with ACME. */}}
{{- define "tidegate.tlsSecretName" -}}
{{- if .Values.tls.certManager.enabled }}
{{- default (printf "%s-tls" (include "tidegate.fullname" .)) .Values.tls.secretName }}
{{- else }}
{{- .Values.tls.secretName }}
{{- end }}
{{- end }}

{{- define "tidegate.scheme" -}}
{{- ternary "https" "http" (or (ne (include "tidegate.tlsSecretName" .) "") .Values.tls.acme.enabled) }}
{{- end }}

{{- define "tidegate.servicePort" -}}
{{- default (ternary 443 80 (eq (include "tidegate.scheme" .) "https")) .Values.service.port | int }}
{{- end }}

{{/* What `helm test` opens. With TLS, a name of the certificate where it is known. */}}
{{- define "tidegate.testUrl" -}}
{{- $service := printf "%s://%s.%s:%s" (include "tidegate.scheme" .) (include "tidegate.fullname" .) .Release.Namespace (include "tidegate.servicePort" .) }}
{{- $name := "" }}
{{- with .Values.tls }}
{{- if .acme.enabled }}{{ $name = first .acme.domains }}{{ else if .certManager.enabled }}{{ $name = first .certManager.dnsNames | trimPrefix "*." }}{{ end }}
{{- end }}
{{- default (ternary (printf "https://%s" $name) $service (ne $name "")) .Values.test.url }}
{{- end }}

{{/* "true" where several pods may run at a time, beside those of a rollout. */}}
{{- define "tidegate.severalPods" -}}
{{- if .Values.autoscaling.enabled }}true{{ else if gt (int .Values.replicas) 1 }}true{{ end }}
{{- end }}

{{- define "tidegate.sessionAffinity" -}}
{{- default (ternary "ClientIP" "None" (eq (include "tidegate.severalPods" .) "true")) .Values.service.sessionAffinity }}
{{- end }}

{{- define "tidegate.acmeVolume" -}}
{{- if and .Values.tls.acme.enabled (eq .Values.tls.acme.cache "volume") }}true{{ end }}
{{- end }}

{{- define "tidegate.acmeClaim" -}}
{{- if and (include "tidegate.acmeVolume" .) .Values.tls.acme.persistence.enabled }}true{{ end }}
{{- end }}

{{- define "tidegate.hasRedis" -}}
{{- if or .Values.redis.url .Values.redis.urlSecret.name }}true{{ end }}
{{- end }}

{{- define "tidegate.upstreamUrl" -}}
{{- if eq .Values.mode "sidecar" }}
{{- printf "http://127.0.0.1:%d" (int .Values.app.port) }}
{{- else if .Values.upstream.url }}
{{- .Values.upstream.url }}
{{- else }}
{{- with .Values.upstream.service }}
{{- printf "http://%s%s:%d" .name (ternary (printf ".%s" .namespace) "" (ne .namespace "")) (int .port) }}
{{- end }}
{{- end }}
{{- end }}

{{/* More than what Tidegate, and in a pod with it the service, may take to leave. */}}
{{- define "tidegate.gracePeriod" -}}
{{- with .Values.leaving }}
{{- add (int .lameDuck) (int .shutdownGrace) (ternary (int .appStop) 0 (eq $.Values.mode "sidecar")) 5 }}
{{- end }}
{{- end }}

{{/* What the chart sets of the configuration. The file does not have to repeat it, and cannot contradict it. */}}
{{- define "tidegate.ownEnv" -}}
{{- $every := ternary "[::]" "0.0.0.0" .Values.ipv6 -}}
- name: TIDEGATE__LISTEN__ADDRESS
  value: {{ printf "%s:8443" $every | quote }}
- name: TIDEGATE__ADMIN__ADDRESS
  value: {{ printf "%s:9464" $every | quote }}
- name: TIDEGATE__UPSTREAM__URL
  value: {{ include "tidegate.upstreamUrl" . | quote }}
- name: TIDEGATE__LIMITS__LAME_DUCK
  value: {{ printf "%ds" (int .Values.leaving.lameDuck) | quote }}
- name: TIDEGATE__LIMITS__SHUTDOWN_GRACE
  value: {{ printf "%ds" (int .Values.leaving.shutdownGrace) | quote }}
{{- with .Values.origins }}
- name: TIDEGATE__ORIGINS__ALLOW
  value: {{ toJson . | quote }}
{{- end }}
{{- with .Values.trustedProxies }}
- name: TIDEGATE__LISTEN__TRUSTED_PROXIES
  value: {{ toJson . | quote }}
{{- end }}
{{- if .Values.auth.secretName }}
- name: TIDEGATE__AUTH__SECRET__FILE
  value: {{ printf "/etc/tidegate/secrets/%s" .Values.auth.secretKey | quote }}
{{- end }}
{{- if .Values.admin.tokenSecret.name }}
- name: TIDEGATE__ADMIN__TOKEN__FILE
  value: {{ printf "/etc/tidegate/admin/%s" .Values.admin.tokenSecret.key | quote }}
{{- end }}
{{- if .Values.tls.acme.enabled }}
{{- with .Values.tls.acme }}
- name: TIDEGATE__TLS__ACME__DOMAINS
  value: {{ toJson .domains | quote }}
{{- with .contact }}
- name: TIDEGATE__TLS__ACME__CONTACT
  value: {{ toJson . | quote }}
{{- end }}
- name: TIDEGATE__TLS__ACME__DIRECTORY
  value: {{ .directory | quote }}
- name: TIDEGATE__TLS__ACME__CACHE
  value: {{ ternary "redis" "/var/lib/tidegate/acme" (eq .cache "redis") }}
{{- end }}
{{- else if include "tidegate.tlsSecretName" . }}
- name: TIDEGATE__TLS__CERTIFICATE
  value: /etc/tidegate/tls/tls.crt
- name: TIDEGATE__TLS__PRIVATE_KEY
  value: /etc/tidegate/tls/tls.key
{{- end }}
{{- if include "tidegate.hasRedis" . }}
{{- with .Values.redis }}
{{- if .urlSecret.name }}
- name: TIDEGATE__REDIS__URL_FROM__FILE
  value: {{ printf "/etc/tidegate/redis/%s" .urlSecret.key | quote }}
{{- else }}
- name: TIDEGATE__REDIS__URL
  value: {{ .url | quote }}
{{- with .username }}
- name: TIDEGATE__REDIS__USERNAME
  value: {{ . | quote }}
{{- end }}
{{- if .passwordSecret.name }}
- name: TIDEGATE__REDIS__PASSWORD__FILE
  value: {{ printf "/etc/tidegate/redis/%s" .passwordSecret.key | quote }}
{{- end }}
{{- end }}
{{- end }}
- name: TIDEGATE__CLUSTER__NAME
  value: {{ default (printf "%s.%s" .Release.Namespace (include "tidegate.fullname" .)) .Values.cluster.name | quote }}
{{- end }}
{{- if .Values.cluster.secret.name }}
- name: TIDEGATE__CLUSTER__SECRET__FILE
  value: {{ printf "/etc/tidegate/cluster/%s" .Values.cluster.secret.key | quote }}
{{- end }}
{{- end }}

{{/* The Secrets that are mounted: the name of the volume, the folder's name, the Secret and its key. */}}
{{- define "tidegate.secrets" -}}
secrets:
  {{- if .Values.auth.secretName }}
  - {volume: tidegate-auth, folder: secrets, name: {{ .Values.auth.secretName | quote }}, key: {{ .Values.auth.secretKey | quote }}}
  {{- end }}
  {{- with .Values.admin.tokenSecret }}
  {{- if .name }}
  - {volume: tidegate-admin, folder: admin, name: {{ .name | quote }}, key: {{ .key | quote }}}
  {{- end }}
  {{- end }}
  {{- with .Values.redis }}
  {{- if .urlSecret.name }}
  - {volume: tidegate-redis, folder: redis, name: {{ .urlSecret.name | quote }}, key: {{ .urlSecret.key | quote }}}
  {{- else if and .url .passwordSecret.name }}
  - {volume: tidegate-redis, folder: redis, name: {{ .passwordSecret.name | quote }}, key: {{ .passwordSecret.key | quote }}}
  {{- end }}
  {{- end }}
  {{- with .Values.cluster.secret }}
  {{- if .name }}
  - {volume: tidegate-cluster, folder: cluster, name: {{ .name | quote }}, key: {{ .key | quote }}}
  {{- end }}
  {{- end }}
{{- end }}

{{- define "tidegate.volumes" -}}
- name: tidegate-config
  configMap:
    name: {{ include "tidegate.configMapName" . | quote }}
{{- include "tidegate.filesVolumes" . }}
{{- if include "tidegate.acmeClaim" . }}
- name: tidegate-acme
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-acme" (include "tidegate.fullname" .)) .Values.tls.acme.persistence.existingClaim | quote }}
{{- else if include "tidegate.acmeVolume" . }}
{{ include "tidegate.acmeEmptyDir" . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tidegate.acmeEmptyDir" -}}
- name: tidegate-acme
  emptyDir:
    sizeLimit: {{ .Values.tls.acme.persistence.size | quote }}
{{- end }}

{{/* Secrets and certificates. */}}
{{- define "tidegate.filesVolumes" }}
{{- range (include "tidegate.secrets" . | fromYaml).secrets }}
- name: {{ .volume }}
  secret:
    secretName: {{ .name | quote }}
    items:
      - key: {{ .key | quote }}
        path: {{ .key | quote }}
{{- end }}
{{- if include "tidegate.tlsSecretName" . }}
- name: tidegate-tls
  secret:
    secretName: {{ include "tidegate.tlsSecretName" . | quote }}
{{- end }}
{{- end }}

{{/* Folders side by side: below a mounted ConfigMap nothing can be mounted, and a subPath would never be updated. */}}
{{- define "tidegate.volumeMounts" -}}
- name: tidegate-config
  mountPath: /etc/tidegate/config
  readOnly: true
{{- range (include "tidegate.secrets" . | fromYaml).secrets }}
- name: {{ .volume }}
  mountPath: /etc/tidegate/{{ .folder }}
  readOnly: true
{{- end }}
{{- if include "tidegate.tlsSecretName" . }}
- name: tidegate-tls
  mountPath: /etc/tidegate/tls
  readOnly: true
{{- end }}
{{- if include "tidegate.acmeVolume" . }}
- name: tidegate-acme
  mountPath: /var/lib/tidegate/acme
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The container of Tidegate: a native sidecar, an ordinary container beside the service, or alone in its pod. */}}
{{- define "tidegate.container" -}}
name: tidegate
image: {{ include "tidegate.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: ["run", "/etc/tidegate/config/tidegate.toml"]
{{- if and (eq .Values.mode "sidecar") .Values.nativeSidecar }}
restartPolicy: Always
{{- end }}
env:
  {{- include "tidegate.ownEnv" . | nindent 2 }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: tidegate
    containerPort: 8443
  - name: tidegate-admin
    containerPort: 9464
{{- /* None of them asks for the service: a sidecar starts before it, and keeps clients while it is down. */}}
startupProbe:
  httpGet:
    path: /livez
    port: tidegate-admin
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet:
    path: /livez
    port: tidegate-admin
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    {{- if .Values.tls.acme.enabled }}
    # The authority reaches a pod through the Service, which has only ready ones.
    path: /readyz?without=certificate
    {{- else }}
    path: /readyz
    {{- end }}
    port: tidegate-admin
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 1
{{- if eq .Values.mode "sidecar" }}
lifecycle:
  preStop:
    exec:
      command: ["/tidegate", "drain"]
{{- end }}
# `kubectl describe pod` shows why it does not start.
terminationMessagePolicy: FallbackToLogsOnError
{{- include "tidegate.limits" . }}
volumeMounts:
  {{- include "tidegate.volumeMounts" . | nindent 2 }}
{{- end }}

{{/* Where pods of hooks run: on nodes that are chosen for the others. Rules about pods beside each other are not for them. */}}
{{- define "tidegate.hookPlacement" }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (default dict .Values.affinity).nodeAffinity }}
affinity:
  nodeAffinity:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* What a container of ours may do and use. */}}
{{- define "tidegate.limits" }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tidegate.appContainer" -}}
name: app
image: {{ .Values.app.image | quote }}
imagePullPolicy: {{ .Values.app.imagePullPolicy }}
{{- with .Values.app.command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.app.args }}
args:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.app.env .Values.app.listenEnv }}
env:
  {{- with .Values.app.listenEnv }}
  - name: {{ . | quote }}
    value: 127.0.0.1
  {{- end }}
  {{- with .Values.app.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.app.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" }}
{{- with index $.Values.app $probe }}
{{ $probe }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
lifecycle:
  preStop:
    # The service gets SIGTERM when its clients have left: the node answers then.
    httpGet:
      path: /drained
      port: 9464
{{- with .Values.app.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.app.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.app.volumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
