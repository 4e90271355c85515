"""What a Secret holds, as fence agents are given it."""

from base64 import b64encode
from typing import Any, cast

import pytest

from tandem_api.meta import ObjectKey
from tandem_controller.edge.kube import KubeApi
from tandem_controller.ports import ApiConflict, ApiRefused
from tandem_kube import NotFound
from tandem_kube.kinds import Kind


class Client:
    """Has one Secret, and notes what is asked for."""

    def __init__(self, data: dict[str, str] | None) -> None:
        self.data, self.paths = data, list[str]()

    async def get(self, kind: Kind[Any], key: ObjectKey) -> dict[str, Any]:
        self.paths.append(kind.path(key.namespace, key.name))
        if self.data is None:
            raise NotFound("secrets a not found")
        return {"metadata": {"name": key.name}, "data": self.data}


def encoded(text: bytes) -> str:
    return b64encode(text).decode()


async def read(client: Client) -> dict[str, str]:
    return dict(await KubeApi(cast(Any, client)).read_secret("a"))


async def test_it_is_read_by_name_in_tandems_namespace() -> None:
    client = Client({"password": encoded("correct hórse".encode())})
    assert await read(client) == {"password": "correct hórse"}
    assert client.paths == ["/api/v1/namespaces/tandem-system/secrets/a"]


async def test_one_that_is_not_there_may_come() -> None:
    with pytest.raises(ApiConflict):
        await read(Client(None))


@pytest.mark.parametrize("value", ["no base64!", encoded(b"\xff\xfe")])
async def test_what_is_no_text_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ApiRefused, match="does not hold text alone") as caught:
        await read(Client({"password": value}))
    assert value not in str(caught.value)
