"""Errors of the agent, all below one root.

```
AgentError
├── ManifestError                 manifest: a deployment that cannot be used, with the status that reports it
│   ├── ManifestFormatError       manifest: not convertible to a deployment (400)
│   ├── SchemaVersionError        manifest.schema_version: a version that this agent cannot serve (412)
│   └── EmptyManifestError        manifest: no deployment at all (417)
├── StepError                     executor: a step that failed
├── SettingsError                 config.settings: a setting that cannot work
├── ConfigFileError               config.toml_table: a config.toml that cannot be used
├── StateFileError                state.files: state cannot be read or written
├── BundleError                   management.bundle_file: a support bundle cannot be made
├── ManagementError               management.client: the agent did not answer, or refused
├── ProbeError                    checks.ports: something that is checked cannot be reached
├── ProbeMissing                  checks.ports: there is nothing to try a check with
├── UsageError                    cli.iotedge_modules: a command was given what it cannot use
├── ServiceManagerError           cli.iotedge_system: systemd is not there, or refused
├── ConfigCommandError            cli.iotedge_config: a configuration cannot be made or applied
├── ProgramError                  management.programs: a program of the system failed
├── MethodError                   methods: a call that is answered with an error
│   └── BadCallError              methods: a call that is wrong itself (400)
├── RuntimeFault                  runtime: anything at the container engine
│   ├── EngineError               runtime.engine: the engine refused, with its status and message
│   ├── EngineUnreachable         runtime.engine: no connection, or it broke off
│   │   └── EngineDeadline        runtime.engine: no answer in time
│   ├── EngineVersionError        runtime.versions: no version of the API in common
│   ├── EngineAnswerError         runtime: an answer that is too long or makes no sense
│   ├── PullError                 runtime.pull: an image could not be fetched
│   ├── ForeignContainerError     runtime.containers: a container of that name is not ours
│   └── ContainerSpecError        runtime.spec: create options that no container can be made of
├── GcSettingsError               image_gc.settings: a setting of the image garbage collection
├── WorkloadError                 workload: the workload service or a call of it failed
│   ├── KeyFileError              workload.keys: a key file that cannot be read or made
│   ├── SealingError              workload.sealing: a text that this key did not seal
│   ├── AuthorityError            workload.authority, .certificates: a CA that cannot be used
│   ├── RegistryError             workload.registry: a module that cannot be registered
│   ├── RequestRefused            workload.http: an HTTP request that gets an error for an answer
│   ├── ServiceError              workload.service: the service cannot start
│   │   └── FolderTakenError      workload.service: another process serves this folder
│   └── ControlError              workload.client: the service did not answer, or not as asked
├── LinkError                     link: between the agent and its upstream hub
│   ├── LinkSettingsError         link: a setting that cannot work
│   ├── ConnectError              link: no connection came about, or it was refused
│   ├── LinkDownError             link: there is no connection
│   ├── LinkTimeoutError          link: no answer in time
│   ├── LinkBusyError             link.pending: too many requests wait already
│   ├── RequestRefusedError       link: the hub answered with an error
│   └── TopicError                link.topics: a message of the hub that cannot be read
├── MetricsListenError            metrics.server: the metrics port cannot be opened
├── ScrapeError                   quality.scrape: a page of metrics cannot be had or read
├── ManifestFileError             source.file_source: the manifest file cannot be read at all
├── BackupError                   source.backup: the last good deployment cannot be kept
└── IdentityError                 identity: identities of modules in the hub's registry
    ├── RegistryUnreachableError  identity: no answer, or one that may be another later
    ├── RegistryRefusedError      identity: the hub refused
    └── RegistryAnswerError       identity: an answer that cannot be read
```
"""


class AgentError(Exception):
    """Root of every error that the agent raises on purpose."""
