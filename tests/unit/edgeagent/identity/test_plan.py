"""Which identities to delete, to make and to give keys (rows X02, X03, X05)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.identity.model import ModuleIdentity
from edgeagent.identity.plan import IdentityPlan, plan_identities

AGENT, HUB = "$edgeAgent", "$edgeHub"


def known(*module_ids: str, managed_by: str = "IotEdge") -> dict[str, ModuleIdentity]:
    return {module_id: ModuleIdentity(module_id, "1", managed_by) for module_id in module_ids}


def test_nothing_to_do() -> None:
    names = (AGENT, HUB, "m")
    assert plan_identities(known(*names), names, (), names) == IdentityPlan()


def test_new_modules_and_the_hub_first() -> None:
    assert plan_identities(known(AGENT), (AGENT, "b", HUB, "a"), (), ()).create == (HUB, "a", "b")


def test_x02_only_what_is_ours_is_deleted() -> None:
    """Row X02."""
    at_hub = known("m", "n") | known("mine", managed_by="me") | known(HUB)
    plan = plan_identities(at_hub, (), ("m", "mine", HUB, "unknown"), ())
    assert plan.delete == ("m",)


def test_x03_the_agents_own_is_never_touched() -> None:
    """Row X03."""
    assert plan_identities(known(AGENT), (AGENT,), (), ()) == IdentityPlan()
    assert plan_identities({}, (AGENT,), (AGENT,), ()) == IdentityPlan()


def test_x05_orphans_go_only_when_asked() -> None:
    """Row X05: and never the system modules."""
    at_hub = known("orphan", "m", AGENT, HUB)
    assert plan_identities(at_hub, ("m",), (), ("m",)).delete == ()
    assert plan_identities(at_hub, ("m",), (), ("m",), clean_orphans=True).delete == ("orphan",)


def test_other_keys_are_replaced() -> None:
    at_hub = known("m", HUB)
    assert plan_identities(at_hub, ("m", HUB), (), ("m",)).rekey == (at_hub[HUB],)


names = st.sets(st.sampled_from([AGENT, HUB, "a", "b", "c", "d"]))


@given(names, names, names, names, st.booleans())
def test_no_identity_is_wanted_and_deleted(
    at_hub: set[str], wanted: set[str], removed: set[str], ready: set[str], clean: bool
) -> None:
    plan = plan_identities(known(*at_hub), wanted, removed, ready, clean_orphans=clean)
    rekeyed = {identity.module_id for identity in plan.rekey}
    assert set(plan.delete) <= at_hub - wanted - {AGENT, HUB}
    assert set(plan.create) == wanted - at_hub - {AGENT}
    assert rekeyed == (wanted & at_hub) - ready - {AGENT}
