{{- define "chatledger.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "chatledger.labels" -}}
{{ include "chatledger.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "chatledger.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "chatledger.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "chatledger.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "chatledger.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The pause in which balancers learn that a pod ends; then the grace, and fifteen seconds to close. */ -}}
{{- define "chatledger.pause" -}}5{{- end -}}
{{- define "chatledger.terminationGrace" -}}
{{- add (ceil .Values.shutdownGrace) 15 (int (include "chatledger.pause" .)) -}}
{{- end -}}

{{- /* What a pod of any kind has: an account without rights, a root that nobody writes to, settings, the master key. */ -}}
{{- define "chatledger.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: settings
    secret:
      secretName: {{ .Values.secrets.settings.name }}
      items: [{key: {{ .Values.secrets.settings.key | quote }}, path: chatledger.toml}]
      defaultMode: 0440
  - name: master-key
    secret:
      # All of it: before a rotation the next key lies beside the present one.
      secretName: {{ .Values.secrets.masterKey.name }}
      defaultMode: 0440
  - name: data
    emptyDir: {sizeLimit: 1Gi}
  - name: tmp
    emptyDir: {sizeLimit: 1Gi}
  {{- with .Values.files.existingClaim }}
  - name: files
    persistentVolumeClaim: {claimName: {{ . }}}
  {{- end }}
{{- end -}}

{{- define "chatledger.container" -}}
image: {{ include "chatledger.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: CHATLEDGER_CONFIG, value: /etc/chatledger/chatledger.toml}
  - {name: CHATLEDGER_DATA_DIR, value: /var/lib/chatledger}
  - {name: CHATLEDGER_MASTER_KEY_FILE, value: {{ printf "/etc/chatledger-keys/%s" .Values.secrets.masterKey.key | quote }}}
  - {name: CHATLEDGER_HOST, value: 0.0.0.0}
  - {name: CHATLEDGER_PORT, value: "8000"}
  - {name: CHATLEDGER_QUEUE, value: {{ .Values.queue }}}
  - {name: CHATLEDGER_SHUTDOWN_GRACE, value: {{ .Values.shutdownGrace | quote }}}
  - name: CHATLEDGER_WORKER_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  {{- if eq .Values.queue "nats" }}
  - {name: CHATLEDGER_NATS_URL, value: {{ join "," .Values.nats.url | quote }}}
  - {name: CHATLEDGER_NATS_REPLICAS, value: {{ .Values.nats.replicas | quote }}}
  {{- end }}
  - {name: CHATLEDGER_FILES_URL, value: {{ .Values.files.url | default "file:///var/lib/chatledger/files" | quote }}}
  {{- range $name, $value := .Values.settings }}
  {{- /* As JSON a large number has no exponent. */}}
  - {name: {{ printf "CHATLEDGER_%s" (upper $name) }}, value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}}
  {{- end }}
volumeMounts:
  - {name: settings, mountPath: /etc/chatledger, readOnly: true}
  - {name: data, mountPath: /var/lib/chatledger}
  - {name: master-key, mountPath: /etc/chatledger-keys, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.files.existingClaim }}
  - {name: files, mountPath: /var/lib/chatledger/files}
  {{- end }}
{{- end -}}

{{- /* Where the pods of a Deployment may stand: not all on one machine, unless something else is asked for. */ -}}
{{- define "chatledger.placing" -}}
{{- $component := .component -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "chatledger.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ $component }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
