"""Routes from a desired document into the core, all or nothing.

A document is validated completely, conditions included, before any of it applies; a bad one leaves the
routes in force and is reported with 400 (settings spec 3.3 and the design's rule). The last good
document is stored and used while the parent hub cannot be reached.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from edgehub.common.state import StateError, StateStore, log_failure
from edgehub.config.desired import (
    NO_LIMITS,
    DesiredConfigError,
    RoutesConfig,
    RouteSpec,
    StoreLimits,
    document_version,
    merge_patch,
    parse_desired,
    path_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgehub.hub.ports import CheckRoutes, RoutesCore, RouteTuple

BUCKET = "config"
LAST_GOOD = "desired"
STATUS_OK = 200
STATUS_BAD = 400

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """What came of a document, as `lastDesiredStatus` reports it.

    :param version: `$version` of the document or patch, None when it has none.
    """

    code: int
    description: str = ""
    version: int | None = None


class RoutesService:
    """Holds the routes in force and the desired document they come from.

    :param default_limits: limits of the store as far as documents do not give any.
    """

    def __init__(
        self,
        core: RoutesCore,
        check_routes: CheckRoutes,
        state: StateStore,
        *,
        edge_device_id: str,
        default_limits: StoreLimits = NO_LIMITS,
    ) -> None:
        self._core = core
        self._check_routes = check_routes
        self._state = state
        self._edge_device_id = edge_device_id
        self._document: dict[str, Any] | None = None
        self._default_limits = default_limits
        self._in_force: RoutesConfig | None = None
        self._limits_in_force = NO_LIMITS

    @property
    def configured(self) -> bool:
        """Whether any configuration is in force."""
        return self._in_force is not None

    def load_last_good(self) -> bool:
        """Applies the stored document; False when there is none or it is no longer valid."""
        try:
            stored = self._state.get(BUCKET, LAST_GOOD)
            document = msgspec.json.decode(stored) if stored is not None else None
        except (StateError, msgspec.DecodeError) as error:
            log.warning("The stored configuration cannot be read: %s", error)
            return False
        if not isinstance(document, dict):
            return False
        try:
            self._apply(self._validate(document))
        except DesiredConfigError as error:
            log.warning("The stored configuration is not used: %s", error)
            return False
        self._document = document
        log.info("Using the stored edge hub config until the twin is obtained")
        return True

    def take_document(self, document: Mapping[str, Any], *, keep: bool = True) -> ConfigStatus:
        """Validates and applies a whole desired document.

        :param keep: whether it becomes the last good document on disk.
        """
        self._document = dict(document)
        return self._take(document_version(document), keep=keep)

    def take_patch(self, patch: Mapping[str, Any]) -> ConfigStatus | None:
        """Merges a patch into the last full document and applies the result as a whole.

        A document that was refused stays the base of later patches, so that a second patch can mend the
        first. None when no full document is known: the caller has to fetch one.
        """
        if self._document is None:
            return None
        self._document = merge_patch(self._document, patch)
        return self._take(document_version(patch), keep=True)

    def apply_fixed(self, routes: Sequence[RouteSpec], ttl_secs: int) -> None:
        """Applies routes that come from the settings and never change.

        :raises DesiredConfigError: a route does not compile.
        """
        config = RoutesConfig(tuple(routes), ttl_secs)
        self._check(config)
        self._apply(config)

    def _take(self, version: int | None, *, keep: bool) -> ConfigStatus:
        document = self._document or {}
        try:
            config = self._validate(document)
        except DesiredConfigError as error:
            log.error("%s", error.description)
            return ConfigStatus(STATUS_BAD, error.description, version)
        self._apply(config)
        if keep:
            self._store(document)
        return ConfigStatus(STATUS_OK, "", version)

    def _validate(self, document: Mapping[str, Any]) -> RoutesConfig:
        config = parse_desired(document)
        for warning in config.warnings:
            log.warning("%s", warning)
        self._check(config)
        return config

    def _check(self, config: RoutesConfig) -> None:
        faults = self._check_routes(self._edge_device_id, _tuples(config))
        if faults:
            texts = [
                f"Error parsing route {path_name(fault.route)} - {fault.line}:{fault.column}: {fault.text}"
                for fault in faults
            ]
            raise DesiredConfigError("; ".join(texts))

    def _apply(self, config: RoutesConfig) -> None:
        before = self._in_force
        if before is None or (before.routes, before.ttl_secs) != (config.routes, config.ttl_secs):
            self._core.set_routes(_tuples(config), default_ttl_secs=config.ttl_secs)
            _log_applied(before, config)
        self._in_force = config
        self._apply_limits(config.store_limits(self._default_limits))

    def _apply_limits(self, limits: StoreLimits) -> None:
        if limits == self._limits_in_force:
            return
        self._core.set_quota(limits.bytes_max, limits.overflow_policy)
        self._limits_in_force = limits
        if limits.bytes_max is None:
            log.info("Messages may take the whole disk, then: %s", limits.overflow_policy)
        else:
            log.info("Messages may take %d bytes, then: %s", limits.bytes_max, limits.overflow_policy)

    def _store(self, document: Mapping[str, Any]) -> None:
        data = msgspec.json.encode(document)
        try:
            if self._state.get(BUCKET, LAST_GOOD) != data:
                log_failure(self._state.write([(BUCKET, LAST_GOOD, data)]), "The configuration")
        except StateError as error:
            log.warning("The configuration could not be stored for offline use: %s", error)


def _tuples(config: RoutesConfig) -> list[RouteTuple]:
    return [(route.name, route.text, route.priority, route.ttl_secs) for route in config.routes]


def _log_applied(before: RoutesConfig | None, config: RoutesConfig) -> None:
    if config.routes:
        log.info("Set the following %d route(s) in edge hub", len(config.routes))
        for route in config.routes:
            log.info("%s: %s", route.name, route.text)
    else:
        log.info("No routes set in the edge hub")
    if before is None or before.ttl_secs != config.ttl_secs:
        log.info("Updated message store TTL to %d seconds", config.ttl_secs)
    log.info("Updated the edge hub store and forward configuration")
