"""Each program's requests are in the lane that is meant for them, and nobody else's are.

What the lanes are worth in a flood is held by `test_flood`, and measured by `make bench-flood`.
"""

from collections.abc import Iterator

import pytest

from tandem_hostile import A
from tandem_lab.controlplane import ControlPlane
from tandem_lab.flood import apply_lanes, level_of, small_place

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
GROUP = "tandem:hosts"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/tandem-system/leases"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with small_place(tmp_path_factory.mktemp("flooded"), A) as plane:
        yield plane


def uid(plane: ControlPlane, kind: str, name: str) -> str:
    return plane.kubectl("get", kind, name, "-o", "jsonpath={.metadata.uid}")


async def test_each_program_is_in_its_lane(small: ControlPlane) -> None:
    """And nobody else is in it, although they ask for the same."""
    apply_lanes(small)
    host = small.user_kubeconfig(f"tandem:host:{A}", [GROUP])
    account = small.serviceaccount_kubeconfig("tandem-system", "tandem-controller")
    asked = [
        ("tandem-heartbeats", host, LEASES),
        ("tandem-heartbeats", account, LEASES),
        ("tandem", host, "/apis/tandem.dev/v1alpha1/mirrors"),
        ("tandem", account, "/apis/tandem.dev/v1alpha1/sites"),
    ]
    for name, kubeconfig, path in asked:
        found = await level_of(kubeconfig, path)
        schema = uid(small, "flowschema", name)
        assert found == (schema, uid(small, "prioritylevelconfiguration", name))
    other, _ = await level_of(small.admin_kubeconfig(), LEASES)
    assert other not in {uid(small, "flowschema", name) for name in ("tandem", "tandem-heartbeats")}
