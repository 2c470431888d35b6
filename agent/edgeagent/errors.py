"""Errors of the agent, all below one root.

```
AgentError
├── ManifestError                 manifest: a deployment that cannot be used, with the status that reports it
│   ├── ManifestFormatError       manifest: not convertible to a deployment (400)
│   ├── SchemaVersionError        manifest.schema_version: a version that this agent cannot serve (412)
│   └── EmptyManifestError        manifest: no deployment at all (417)
├── RuntimeFault                  runtime: anything at the container engine
│   ├── EngineError               runtime.engine: the engine refused, with its status and message
│   ├── EngineUnreachable         runtime.engine: no connection, or it broke off
│   │   └── EngineDeadline        runtime.engine: no answer in time
│   ├── EngineVersionError        runtime.versions: no version of the API in common
│   ├── EngineAnswerError         runtime: an answer that is too long or makes no sense
│   ├── PullError                 runtime.pull: an image could not be fetched
│   ├── ForeignContainerError     runtime.containers: a container of that name is not ours
│   └── ContainerSpecError        runtime.spec: create options that no container can be made of
└── GcSettingsError               image_gc.settings: a setting of the image garbage collection
```
"""


class AgentError(Exception):
    """Root of every error that the agent raises on purpose."""
