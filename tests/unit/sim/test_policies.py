"""The simulated server goes by the policies: what it refuses programs is a broken promise.

What they refuse, and in which words, is in ``contract/test_policies.py``; that every write of every
scenario passes them, the scenarios hold: the referee is told of each refusal.
"""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.apiserver import Server
from sim.apiserver.failures import Failure
from sim.apiserver.kinds import served_kinds
from sim.apiserver.policies import PERSON, denied, person, refusal, user_of
from sim.play.player import begin
from tandem_api.check.writers import Party, Writer
from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import LEASE_NAMESPACE, lease_name
from tandem_hostile import B as THERE
from tandem_hostile import mirror
from tandem_kube import LEASES, MIRRORS
from tandem_scenario.plan import WorldPlan
from unit.builders import A, B
from unit.builders import mirror as typed_mirror
from unit.sim.api_bench import Bench

Raw = dict[str, Any]
USERS = (
    user_of(Writer(Party.HOST, A)),
    user_of(Writer(Party.HOST, B)),
    user_of(Writer(Party.CONTROLLER)),
    person(PERSON),
    person("eve"),
)


def order(by: str) -> dict[str, Any]:
    return {"host": B, "epoch": 1, "acceptDataLoss": True, "by": by}


def ordered(by: str) -> Mirror:
    raw = typed_mirror(None).model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"]["override"] = order(by)
    return Mirror.parse(raw)


class TestPrograms:
    def test_one_that_is_refused_is_a_broken_promise(self) -> None:
        bench, told = Bench(policed=True), list[str]()
        bench.server.review.broken.append(told.append)
        lease = {"metadata": {"name": lease_name(A), "namespace": LEASE_NAMESPACE}, "spec": {}}
        said = bench.ask(B, lambda client: client.create(LEASES, lease, timeout_s=1), 5)
        words = f"metadata.name: host {B} makes no Lease but host-{B}"
        assert str(said).endswith(words)
        (problem,) = told
        assert problem.startswith(f"the API server refuses host {B} a write to Lease")
        assert problem.endswith(words)

    def test_the_referee_of_a_scenario_hears_of_it(self) -> None:
        world = begin(WorldPlan(), settled=True)
        server = world.api.server
        server.review.writer = server.review.of(A)
        server.review.refused("Lease x", "because")
        assert any("refuses host" in problem for problem in world.referee.problems)

    def test_the_heartbeats_of_a_scenario_were_made_under_them(self) -> None:
        """Not put there: so what would refuse them would be noticed."""
        server = begin(WorldPlan(), settled=True).api.server
        assert server.policed
        assert set(server.leases) == {"burjassot-1", "tarongers-1"}


class TestStatuses:
    def attempt(self, *, policed: bool) -> tuple[str, list[str], Raw]:
        """A host says that another's replica is gone: what it hears, the judge, and what is."""
        bench, told = Bench(policed=policed), list[str]()
        bench.server.review.broken.append(told.append)
        key = bench.server.put(Mirror.parse(mirror("g")), judged=False).key
        patch = {"replicas": {THERE: {"role": "Unknown"}}}
        said = bench.ask(
            A, lambda client: client.merge_patch_status(MIRRORS, key, patch, timeout_s=1), 5
        )
        raw = bench.server.raw("Mirror", key)
        assert raw is not None
        return str(said), told, raw["status"]["replicas"][THERE]

    def test_a_write_that_a_policy_refuses_is_not_made(self) -> None:
        said, (problem,), replica = self.attempt(policed=True)
        words = f"status.replicas.{THERE}: belongs to host {THERE}, not to host {A}"
        assert "'tandem-mirror-status' with binding" in said and said.endswith(words)
        assert problem.startswith(f"the API server refuses host {A} a write to Mirror")
        assert replica["role"] == mirror("g")["status"]["replicas"][THERE]["role"] != "Unknown"

    def test_without_the_policies_it_is_made_and_told_all_the_same(self) -> None:
        _, (problem,), replica = self.attempt(policed=False)
        assert f"belongs to host {THERE}" in problem
        assert replica["role"] == "Unknown"

    def test_a_scenario_says_whether_there_are_any(self) -> None:
        assert begin(WorldPlan(), settled=False).api.server.policed
        assert not begin(WorldPlan(policies=False), settled=False).api.server.policed


class TestPeople:
    def test_order_in_their_own_name(self) -> None:
        server = Server()
        server.put(typed_mirror(None))
        with pytest.raises(Failure, match=f"is eve, and it is {PERSON} who orders it"):
            server.put(ordered("eve"))
        server.put(ordered(PERSON))

    def test_what_was_there_before_the_policies_is(self) -> None:
        server = Server()
        server.put(ordered("eve"), judged=False)
        assert server.policed
        server.put(ordered("eve"))  # and nothing of it changes

    def test_are_no_broken_promise(self) -> None:
        server, told = Server(), list[str]()
        server.review.broken.append(told.append)
        with pytest.raises(Failure):
            server.put(ordered("eve"))
        assert told == []

    def test_delete_no_mirror_that_is_in_use(self) -> None:
        server = Server()
        key = server.put(Mirror.parse(mirror("g")), judged=False).key
        server.delete(Mirror, key)
        assert server.raw("Mirror", key) is not None


class TestRemembering:
    """What was said of the same words is what a policy would say."""

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(USERS),
        st.sampled_from([lease_name(A), lease_name(B), "host-", "tandem-controller", "x"]),
        st.sampled_from([LEASE_NAMESPACE, "ns"]),
    )
    def test_of_leases(self, user: Any, name: str, namespace: str) -> None:
        lease = {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"holderIdentity": name},
        }
        said = denied(served_kinds()["leases"], "", user, None, lease)
        here = namespace == LEASE_NAMESPACE
        wanted = refusal("tandem-heartbeats", user, None, lease) if here else ""
        assert said.endswith(wanted) and bool(said) is bool(wanted)
        assert denied(served_kinds()["leases"], "", user, lease, lease) == ""

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(USERS),
        st.sampled_from([None, "eve", PERSON]),
        st.sampled_from([None, "eve", PERSON]),
        st.booleans(),
        st.integers(1, 2),
    )
    def test_of_orders(
        self, user: Any, before: str | None, after: str | None, is_new: bool, port: int
    ) -> None:
        old, new = copy.deepcopy(mirror("g")), copy.deepcopy(mirror("g"))
        for raw, by in ((old, before), (new, after)):
            raw["spec"].pop("override")
            raw["spec"] |= {"override": order(by)} if by else {}
        new["spec"]["port"] = 7788 + port
        was = None if is_new else old
        said = denied(served_kinds()[MIRRORS.plural], "", user, was, new)
        wanted = refusal("tandem-override", user, was, new)
        assert said.endswith(wanted) and bool(said) is bool(wanted)

    @pytest.mark.parametrize("user", USERS, ids=lambda user: str(user["username"]))
    def test_of_deletions(self, user: Any) -> None:
        in_use, alone = mirror("g"), mirror("g")
        alone["status"]["authority"].update(owner="", ownerInstance="")
        alone["status"]["authority"]["eligible"][THERE]["eligible"] = False
        said = set()
        for old in (in_use, alone, {k: v for k, v in in_use.items() if k != "status"}):
            found = denied(served_kinds()[MIRRORS.plural], "", user, old, None)
            wanted = refusal("tandem-mirror-deletion", user, old, None)
            assert found.endswith(wanted) and bool(found) is bool(wanted)
            said.add(found)
        assert len(said) == 3
