"""The link to the parent hub: one AMQP connection that carries the messages of all clients.

`client.AmqpUpstream` is the link, `scope_client.ScopeClient` reads the device scope over HTTPS. Decisions are
sans-IO (`connectivity`, `backoff`, `senders`, `twin_channel`, `connection`); only `client` and `scope_client`
touch sockets.
"""
