{{/* What the schema cannot say. Each message names the value and what to write. */}}
{{- define "tidegate.validate" -}}
{{- $v := .Values }}
{{- $name := include "tidegate.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- fail (printf "%q, made from the name of the release, cannot be the name of a Service, which has letters, digits and hyphens and begins with a letter: set fullnameOverride" $name) }}
{{- end }}
{{- range $key := keys (include "tidegate.ownLabels" . | fromYaml) }}
{{- if or (hasKey (default dict $v.podLabels) $key) (hasKey (default dict $v.commonLabels) $key) }}
{{- fail (printf "podLabels or commonLabels has %s, which this chart sets: leave it out, or set nameOverride" $key) }}
{{- end }}
{{- end }}
{{- if regexMatch "[:@][^/]*$" $v.image.repository }}
{{- fail (printf "image.repository, %s, has a tag or a digest: put it into image.tag or image.digest" $v.image.repository) }}
{{- end }}
{{- if eq $v.mode "sidecar" }}
{{- if not $v.app.image }}
{{- fail "app.image is empty: set it to the image of your service, for example --set app.image=registry.example.com/chat:1.4.0, or set mode=gateway for a service that runs elsewhere" }}
{{- end }}
{{- if or (has (int $v.app.port) (list 8443 9464)) }}
{{- fail (printf "app.port is %d, which is Tidegate's own port in this pod: let your service listen on another one" (int $v.app.port)) }}
{{- end }}
{{- if and $v.nativeSidecar (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) }}
{{- fail (printf "nativeSidecar is true, and this cluster (%s) is older than Kubernetes 1.29, which has native sidecars: set nativeSidecar=false" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- if or $v.upstream.url $v.upstream.service.name $v.upstream.podSelector $v.upstream.allowFrom }}
{{- fail "upstream.url, upstream.service, upstream.podSelector or upstream.allowFrom is set, and mode is sidecar, where the service is in the same pod: leave them out, or set mode=gateway" }}
{{- end }}
{{- if and $v.monitoring.serviceMonitor.enabled $v.nativeSidecar }}
{{- fail "monitoring.serviceMonitor.enabled: Prometheus does not see the ports of native sidecars through a ServiceMonitor: set monitoring.podMonitor.enabled=true instead" }}
{{- end }}
{{- else }}
{{- if and (not $v.upstream.url) (not $v.upstream.service.name) }}
{{- fail "mode is gateway, and nothing says where the service is: set upstream.service.name and upstream.service.port, or upstream.url" }}
{{- end }}
{{- if and $v.upstream.url $v.upstream.service.name }}
{{- fail "upstream.url and upstream.service.name are both set: keep one of them" }}
{{- end }}
{{- if and $v.upstream.allowFrom (not $v.upstream.podSelector) }}
{{- fail "upstream.allowFrom is set without upstream.podSelector, so that no policy is made and everybody reaches the service: set upstream.podSelector to the labels of its pods" }}
{{- end }}
{{- end }}
{{- if $v.existingConfigMap }}
{{- range $key := list "checkBeforeUpgrade" "restartOnConfigChange" }}
{{- if index $v $key }}
{{- fail (printf "%s is for config, and existingConfigMap is set, of which Helm does not know what is in it: set %s=false" $key $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- /* As [auth], [auth.secret], auth = { … } or auth.secret.file = … in the file, or as a variable. */}}
{{- $says := regexMatch `(?m)^\s*(\[\s*auth\s*\.\s*secret\s*\]|auth\s*=|(auth\s*\.\s*)?(secret(\s*\.\s*\w+)?|public_key|jwks_url|required)\s*=)` $v.config }}
{{- range $v.extraEnv }}{{ if hasPrefix "TIDEGATE__AUTH__" .name }}{{ $says = true }}{{ end }}{{ end }}
{{- if and (not $v.auth.secretName) (not $v.existingConfigMap) (not $says) }}
{{- fail "nothing says who may connect: set auth.secretName to a Secret with the key of your tokens, or write [auth] with jwks_url or public_key in config (or with required = false, to let everybody in)" }}
{{- end }}
{{- range $own := include "tidegate.ownEnv" . | fromYamlArray }}
{{- range $v.extraEnv }}
{{- if eq .name $own.name }}
{{- fail (printf "extraEnv has %s, which this chart sets by other values: leave it out" .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $v.app.env }}
{{- if and $v.app.listenEnv (eq .name $v.app.listenEnv) }}
{{- fail (printf "app.env has %s, which app.listenEnv sets to 127.0.0.1: leave one of them out" .name) }}
{{- end }}
{{- end }}
{{- if and $v.redis.url $v.redis.urlSecret.name }}
{{- fail "redis.url and redis.urlSecret.name are both set: keep one of them" }}
{{- end }}
{{- if and $v.redis.username (not $v.redis.url) }}
{{- fail "redis.username is set without redis.url: set redis.url too, or use redis.urlSecret for a URL with the user in it" }}
{{- end }}
{{- if and $v.redis.passwordSecret.name (not $v.redis.url) }}
{{- fail "redis.passwordSecret.name is set without redis.url: set redis.url too, or use redis.urlSecret for a URL with the password in it" }}
{{- end }}
{{- if contains "@" $v.redis.url }}
{{- fail "redis.url has a user or a password in it, which everybody sees who sees the pod: use redis.urlSecret" }}
{{- end }}
{{- with $v.tls }}
{{- if and .acme.enabled (or .secretName .certManager.enabled) }}
{{- fail "tls.acme.enabled, and a certificate from a Secret or from cert-manager: keep one of them" }}
{{- end }}
{{- if and .certManager.enabled (or (not .certManager.issuerRef.name) (not .certManager.dnsNames)) }}
{{- fail "tls.certManager.enabled is true: set tls.certManager.issuerRef.name and tls.certManager.dnsNames" }}
{{- end }}
{{- if .acme.enabled }}
{{- if not .acme.domains }}
{{- fail "tls.acme.domains is empty: name the domains of the certificate" }}
{{- end }}
{{- if eq .acme.cache "redis" }}
{{- if or (not (include "tidegate.hasRedis" $)) (not $v.cluster.secret.name) }}
{{- fail "tls.acme.cache is redis: set redis.url or redis.urlSecret, and cluster.secret.name" }}
{{- end }}
{{- else if include "tidegate.severalPods" $ }}
{{- fail "tls.acme with several pods: each would order a certificate of its own, and answer challenges of the others wrongly: set tls.acme.cache=redis, or use tls.certManager" }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}
{{- fail "ingress.host is empty: set it to the name by which clients know the service" }}
{{- end }}
{{- if and $v.upstream.podSelector $v.upstream.url (eq $v.mode "gateway") }}
{{- fail "upstream.podSelector needs upstream.service: a policy cannot be made for what is somewhere else (upstream.url)" }}
{{- end }}
{{- if and $v.monitoring.podMonitor.enabled $v.monitoring.serviceMonitor.enabled }}
{{- fail "monitoring.podMonitor and monitoring.serviceMonitor are both enabled: every series would be there twice, so keep one of them" }}
{{- end }}
{{- with $v.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas is %d, and maxReplicas %d: set maxReplicas to as many or more" (int .minReplicas) (int .maxReplicas)) }}
{{- end }}
{{- end }}
{{- include "tidegate.validateService" . }}
{{- include "tidegate.validatePod" . }}
{{- end }}

{{/* Kubernetes refuses a Service with what its type does not have, when half of the release is there. */}}
{{- define "tidegate.validateService" -}}
{{- with .Values.service }}
{{- if and .nodePort (eq .type "ClusterIP") }}
{{- fail "service.nodePort is set, and a Service of type ClusterIP has no port on the nodes: set service.type=NodePort or LoadBalancer" }}
{{- end }}
{{- if and .externalTrafficPolicy (eq .type "ClusterIP") }}
{{- fail "service.externalTrafficPolicy is set, and a Service of type ClusterIP gets nothing from outside: set service.type=NodePort or LoadBalancer" }}
{{- end }}
{{- range $key := list "loadBalancerClass" "loadBalancerSourceRanges" }}
{{- if and (index $.Values.service $key) (ne $.Values.service.type "LoadBalancer") }}
{{- fail (printf "service.%s is set, and service.type is %s: set service.type=LoadBalancer" $key $.Values.service.type) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What others add to the pod and what this chart makes must not have one name. */}}
{{- define "tidegate.validatePod" -}}
{{- $v := .Values }}
{{- if and (eq $v.mode "sidecar") $v.app.listenEnv }}
{{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" }}
{{- range $how, $asked := default dict (index $v.app $probe) }}
{{- if and (has $how (list "httpGet" "tcpSocket" "grpc")) (eq (toString $asked.port) (toString $v.app.port)) }}
{{- fail (printf "app.%s asks port %d at the pod's address, where a service that listens on 127.0.0.1 (app.listenEnv) does not answer: ask port 8443, through Tidegate, or use exec" $probe (int $v.app.port)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $containers := list "tidegate" }}
{{- if eq $v.mode "sidecar" }}{{ $containers = append $containers "app" }}{{ end }}
{{- range concat (default list $v.initContainers) (default list $v.extraContainers) }}
{{- if has .name $containers }}
{{- fail (printf "initContainers or extraContainers has %q, and the pod has a container of that name: give it another" .name) }}
{{- end }}
{{- $containers = append $containers .name }}
{{- end }}
{{- range $v.extraVolumes }}
{{- if hasPrefix "tidegate-" .name }}
{{- fail (printf "extraVolumes has %q, and names that begin with tidegate- are those of this chart: give it another" .name) }}
{{- end }}
{{- end }}
{{- range $v.extraVolumeMounts }}
{{- if regexMatch "^(/etc(/tidegate(/config(/.*)?)?)?)?/?$" .mountPath }}
{{- fail (printf "extraVolumeMounts has %s, which hides what this chart mounts: mount it somewhere else, for example at /etc/tidegate/extra" .mountPath) }}
{{- end }}
{{- end }}
{{- $own := list "kubectl.kubernetes.io/default-container" }}
{{- if $v.monitoring.scrapeAnnotations }}{{ $own = concat $own (list "prometheus.io/scrape" "prometheus.io/port" "prometheus.io/path") }}{{ end }}
{{- if $v.restartOnConfigChange }}{{ $own = append $own "checksum/config" }}{{ end }}
{{- range $own }}
{{- if hasKey (default dict $v.podAnnotations) . }}
{{- fail (printf "podAnnotations has %s, which this chart sets: leave it out" .) }}
{{- end }}
{{- end }}
{{- end }}
