"""Errors of the Python side, all below one root.

```
EdgehubError
├── SettingsError             config.load: a setting that cannot work
├── DesiredConfigError        config.desired: desired properties that cannot be used
├── StateError                common.state: durable state cannot be opened, read or written
├── MethodError               common.method_calls: a method call without answer
├── ConnectionStringError     identity.connection_string: a connection string that cannot be used
├── ScopeApiError             identity.refresher: the parent hub did not answer for identities
├── ScopeFormatError          identity.scope_wire: identities that cannot be read
├── OutsideSubtreeError       identity.scope_answers: a child asks for something that is not below it
├── ScopeUnknownError         identity.scope_answers: neither known nor to be had from the parent hub
├── SealError                 identity.sealing: a sealed value that cannot be opened
├── CertificateFault          identity.client_certificates: a certificate that does not prove an identity
├── WorkloadError             identity.workload: the workload API did not answer as asked
├── ConnectRefusedError       protocol.connect: a CONNECT that is answered with a code and closed
├── UsernameError             protocol.connect: a user name outside the grammar
├── TopicError                protocol.topics: a control topic that cannot be served
├── SessionFormatError        protocol.sessions: a stored session that cannot be read
├── MethodRequestError        protocol.method_request: a body that is not a method call
├── ChildRequestError         protocol.child_requests: a body that is not what a child edge device may ask
├── ReportedError             protocol.reported: reported properties that a twin cannot hold
├── SasError                  protocol.sas: a token that cannot be read or is refused
├── AmqpDecodeError           protocol.amqp_types: bytes that are not valid AMQP 1.0
│   └── SaslError             protocol.amqp_sasl: a SASL exchange outside the rules
├── AddressError              protocol.addresses: a link address nobody serves
├── AuthChainError            protocol.authchain: a chain that cannot be read
├── CbsError                  protocol.cbs: a `$cbs` request that cannot be served
├── DesiredFileError          hub.desired_files: a file without desired properties
├── FolderError               hub.folders: the data folder cannot be used
├── SecretFileError           hub.own_key: the secret of a hub without key cannot be used
├── TwinFormatError           hub.twins.record: a stored twin that cannot be read
├── TwinFullError             hub.twins.service: too much of one client waits for the parent hub
├── CertificateError          hub.certificates: a server certificate or its key that cannot be used
├── ClientLimitError          heads.connections: `MaxConnectedClients` is reached
├── ListenError               heads.tls_listener: the port cannot be opened
├── ForwardedError            heads.forwarded: a header without the certificates of a client
├── HttpStartError            heads.http: the HTTP head cannot start
├── RefusalError              heads.rest: a request that is answered with an error
├── MetricsFormatError        metrics.core_totals: totals of the core in another layout
├── MetricsListenError        metrics.server: the metrics port cannot be opened
├── SpillFileError            store_files.spill: a spill file, or a block of one, that cannot be read
├── CertificateError          services: a server certificate that cannot be used
├── StartError                services: the hub cannot start
├── UpstreamError             upstream: an operation with the parent hub failed
│   ├── UpstreamOffline       upstream: there is no working connection
│   ├── UpstreamTimeout       upstream: no answer in time
│   ├── UpstreamRefused       upstream: an answer that refuses, with its status
│   ├── RegistryError         upstream.registry_client: no usable answer about modules of devices below
│   └── ScopeError            upstream.scope_client: no usable answer about the device scope
│       ├── NotInScope        upstream.scope_client: an identity that is not below this device
│       └── NoSuchIdentity    upstream.scope_client: an identity that does not exist
├── UpstreamSettingsError     upstream.settings: a setting of the link cannot work
└── HubError                  iothub: one code of the hub's error catalogue
```
"""


class EdgehubError(Exception):
    """Root of every error that edgehub raises on purpose."""
