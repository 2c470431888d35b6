"""Who may connect: identities, tokens, the device scope, and secrets at rest."""
