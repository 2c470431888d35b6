"""The hub's AMQP side: connections of devices, modules and edge hubs."""
