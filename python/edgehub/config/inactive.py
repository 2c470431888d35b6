"""Settings of the reference that are accepted but change nothing here.

A value that already describes what happens is accepted silently; any other gives one warning line at
start that names the variables, so that nobody believes a switch to be on that is not.
"""

from __future__ import annotations

from dataclasses import dataclass

_NOT_YET = "not yet in effect"
_NOTHING = "has no counterpart here"


@dataclass(frozen=True, slots=True)
class Inactive:
    """A known name without effect.

    :param doc: what it means in the reference and why it has no effect.
    :param holds: values (any case) that describe what the hub does anyway.
    """

    env: str
    doc: str
    holds: tuple[str, ...] = ()


INACTIVE: tuple[Inactive, ...] = (
    Inactive("IOTEDGE_APIVERSION", f"Version of the workload API; {_NOTHING}.", ("*",)),
    Inactive("IOTEDGE_AUTHSCHEME", "Only `sasToken` exists.", ("sastoken",)),
    Inactive("EdgeModuleHubServerCertificateFile", f"Server certificate as PFX file; {_NOT_YET}."),
    Inactive("EdgeModuleHubServerCAChainCertificateFile", f"Chain of the PFX file; {_NOT_YET}."),
    Inactive("storeAndForwardEnabled", f"`false` (delivery without a store) is {_NOT_YET}.", ("true",)),
    Inactive("BackupFolder", f"Backup of the in-memory store; {_NOT_YET}."),
    Inactive("EnableNonPersistentStorageBackup", f"Backup of the in-memory store; {_NOT_YET}.", ("false",)),
    Inactive("RocksDB_MaxTotalWalSize", f"Engine option of the reference; {_NOTHING}.", ("*",)),
    Inactive("RocksDB_MaxManifestFileSize", f"Engine option of the reference; {_NOTHING}.", ("*",)),
    Inactive("RocksDB_MaxOpenFiles", f"Engine option of the reference; {_NOTHING}.", ("*",)),
    Inactive("Storage_LogLevel", f"Engine option of the reference; {_NOTHING}.", ("*",)),
    Inactive("CheckEntireQueueOnCleanup", "Expired messages are always found.", ("*",)),
    Inactive("MessageCleanupIntervalSecs", "Space is reclaimed promptly, without an interval.", ("*",)),
    Inactive("CacheTokens", f"Persisting the tokens of clients is {_NOT_YET}.", ("false",)),
    Inactive("https_proxy", f"Proxy for the parent hub; {_NOT_YET}.", ("",)),
    Inactive("IotHubConnectionPoolSize", "One connection carries all clients.", ("1",)),
    Inactive("CloudConnectionHangingTimeoutSecs", "An operation never outlives its own limit.", ("*",)),
    Inactive("CloudConnectionIdleTimeoutSecs", "The one upstream connection stays open.", ("*",)),
    Inactive("CloseCloudConnectionOnIdleTimeout", "The one upstream connection stays open.", ("*",)),
    Inactive("CloseCloudConnectionOnDeviceDisconnect", "The one upstream connection stays open.", ("*",)),
    Inactive("TwinManagerVersion", "There is one way to keep twins.", ("v2",)),
    Inactive("AuthenticationMode", f"`Cloud` and `CloudAndScope` are {_NOT_YET}.", ("scope",)),
    Inactive("TrackDeviceState", f"Re-checking identities before each upstream send is {_NOT_YET}.", ("*",)),
    Inactive("MaxCheckCertExpiryInMs", "Expiry is checked at least hourly.", ("*",)),
    Inactive("ModuleRequestThrottleTimeout", "Documented by the reference, read by nothing.", ("*",)),
    Inactive(
        "mqttSettings__MaxPendingInboundAcknowledgements",
        "Acknowledgements of clients are worked on as they are read, so none is ever pending; what clients "
        "publish is bounded by bytes.",
        ("16",),
    ),
    Inactive("mqttSettings__ThreadCount", "See `IoThreads`.", ("*",)),
    Inactive("mqttSettings__EventLoopCount", "See `IoThreads`.", ("*",)),
    Inactive("amqpSettings__enabled", f"The AMQP head is {_NOT_YET}.", ("false",)),
    Inactive("amqpSettings__scheme", f"The AMQP head is {_NOT_YET}.", ("amqps",)),
    Inactive("amqpSettings__port", f"The AMQP head is {_NOT_YET}."),
    Inactive("amqpSettings__delayedBatchingEnabled", f"The AMQP head is {_NOT_YET}.", ("false",)),
    Inactive("protocolTimeoutInSecs", "`ShutdownWaitPeriod` bounds the whole shutdown.", ("*",)),
    Inactive("EnableRoutingLogging", f"Separate routing log; {_NOTHING}.", ("false",)),
    Inactive("EnableSdkDebugLogs", f"Separate SDK log; {_NOTHING}.", ("false",)),
    Inactive("metrics__listener__MetricsHistogramMaxAge", f"Another window is {_NOT_YET}.", ("01:00:00",)),
    Inactive("metrics__listener__Host", "The reference parses and ignores it.", ("*",)),
    Inactive("metrics__listener__Port", "See `httpSettings__metrics_port`.", ("*",)),
    Inactive("metrics__listener__Suffix", "The path is `/metrics`.", ("metrics", "metrics/")),
    Inactive("EDGEHUBUSER_ID", "For the start script of the image.", ("*",)),
    Inactive("mqttBrokerSettings__port", "Unused by the reference.", ("*",)),
    Inactive("mqttBrokerSettings__url", "Unused by the reference.", ("*",)),
    Inactive("authAgentSettings__port", "Unused by the reference.", ("*",)),
    Inactive("authAgentSettings__baseUrl", "Unused by the reference.", ("*",)),
    Inactive("experimentalFeatures__enabled", f"Switch of the two below; {_NOT_YET}.", ("*",)),
    Inactive("experimentalFeatures__disableCloudSubscriptions", f"`true` is {_NOT_YET}.", ("false",)),
    Inactive("experimentalFeatures__disableConnectivityCheck", f"`true` is {_NOT_YET}.", ("false",)),
)


def is_silent(entry: Inactive, value: str) -> bool:
    """Whether a value of this variable needs no warning."""
    return "*" in entry.holds or value.strip().casefold() in entry.holds
