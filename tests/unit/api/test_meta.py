"""A quantity is read once, and stays what was written."""

import copy
import json

import pytest
import yaml
from pydantic import ValidationError

from tandem_api.kinds.mirror import Volume
from tandem_api.meta import Quantity


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1", 1),
        ("2Ki", 2 * 2**10),
        ("2Mi", 2 * 2**20),
        ("8Gi", 8 * 2**30),
        ("99999Ti", 99999 * 2**40),
        ("3k", 3000),
        ("3M", 3 * 10**6),
        ("3G", 3 * 10**9),
        ("3T", 3 * 10**12),
    ],
)
def test_its_bytes(text: str, size_bytes: int) -> None:
    assert Quantity(text).bytes == size_bytes
    assert copy.deepcopy(Quantity(text)).bytes == size_bytes


@pytest.mark.parametrize("text", ["", "0", "8gi", "8 Gi", "-1", "1.5Gi", "8Gi\n", "1000000Ti"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="write one such as 8Gi"):
        Quantity(text)
    with pytest.raises(ValidationError, match="should match pattern"):
        Volume.model_validate({"name": "root", "size": text})


def test_it_is_written_as_a_person_wrote_it() -> None:
    volume = Volume.model_validate({"name": "root", "size": "1024Mi"})
    assert volume.size.bytes == 2**30
    assert volume.size != Quantity("1Gi")
    assert json.loads(volume.model_dump_json()) == {"name": "root", "size": "1024Mi"}
    assert yaml.safe_load(yaml.safe_dump(volume.wire())) == {"name": "root", "size": "1024Mi"}
