"""Errors of the agent, all below one root.

```
AgentError
├── ManifestError                 manifest: a deployment that cannot be used, with the status that reports it
│   ├── ManifestFormatError       manifest: not convertible to a deployment (400)
│   ├── SchemaVersionError        manifest.schema_version: a version that this agent cannot serve (412)
│   └── EmptyManifestError        manifest: no deployment at all (417)
├── LinkError                     link: between the agent and its upstream hub
│   ├── LinkSettingsError         link: a setting that cannot work
│   ├── ConnectError              link: no connection came about, or it was refused
│   ├── LinkDownError             link: there is no connection
│   ├── LinkTimeoutError          link: no answer in time
│   ├── LinkBusyError             link.pending: too many requests wait already
│   ├── RequestRefusedError       link: the hub answered with an error
│   └── TopicError                link.topics: a message of the hub that cannot be read
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
