"""Errors of the Python side, all below one root.

```
EdgehubError
├── SasError                  protocol.sas: a token that cannot be read or is refused
├── AmqpDecodeError           protocol.amqp_types: bytes that are not valid AMQP 1.0
├── AddressError              protocol.addresses: a link address nobody serves
├── AuthChainError            protocol.authchain: a chain that cannot be read
├── CbsError                  protocol.cbs: a `$cbs` request that cannot be served
├── UpstreamError             upstream: the link to the parent hub
└── HubError                  iothub: one code of the hub's error catalogue
```
"""


class EdgehubError(Exception):
    """Root of every error that edgehub raises on purpose."""
