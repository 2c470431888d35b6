"""Errors of the agent, all below one root.

```
AgentError
├── ManifestError                 manifest: a deployment that cannot be used, with the status that reports it
│   ├── ManifestFormatError       manifest: not convertible to a deployment (400)
│   ├── SchemaVersionError        manifest.schema_version: a version that this agent cannot serve (412)
│   └── EmptyManifestError        manifest: no deployment at all (417)
└── WorkloadError                 workload: the workload service or a call of it failed
    ├── KeyFileError              workload.keys: a key file that cannot be read or made
    ├── SealingError              workload.sealing: a text that this key did not seal
    ├── AuthorityError            workload.authority, .certificates: a CA that cannot be used
    ├── RegistryError             workload.registry: a module that cannot be registered
    ├── RequestRefused            workload.http: an HTTP request that gets an error for an answer
    ├── ServiceError              workload.service: the service cannot start
    │   └── FolderTakenError      workload.service: another process serves this folder
    └── ControlError              workload.client: the service did not answer, or not as asked
```
"""


class AgentError(Exception):
    """Root of every error that the agent raises on purpose."""
