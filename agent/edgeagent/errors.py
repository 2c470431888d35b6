"""Errors of the agent, all below one root.

```
AgentError
└── ManifestError                 manifest: a deployment that cannot be used, with the status that reports it
    ├── ManifestFormatError       manifest: not convertible to a deployment (400)
    ├── SchemaVersionError        manifest.schema_version: a version that this agent cannot serve (412)
    └── EmptyManifestError        manifest: no deployment at all (417)
```
"""


class AgentError(Exception):
    """Root of every error that the agent raises on purpose."""
