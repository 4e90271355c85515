"""Tandem in the lab: DRBD calls both replicas current, and knows of a block that one lacks."""

from __future__ import annotations

import pytest

from .deployed import GUEST, VOLUME, Deployed

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

DEVICE = f"/dev/vg0/{VOLUME}"
# Far behind what the guest uses.
BLOCK = 2000
RESOURCE = f"{GUEST.namespace}.{GUEST.name}"
WITH_VERIFICATION = f"""
sed 's/^    net {{/    net {{ verify-alg crc32c;/' /etc/drbd.d/{RESOURCE}.res >/tmp/verify.res
drbdadm -c /tmp/verify.res adjust {RESOURCE}
"""
SPOIL = f"dd if=/dev/urandom of={DEVICE} bs=4k seek={BLOCK} count=1 oflag=direct conv=notrunc"
DIGEST = f"dd if={DEVICE} bs=4k skip={BLOCK} count=1 iflag=direct status=none | md5sum"


def test_what_a_verification_finds_is_copied(tandem: Deployed) -> None:
    """Each version of DRBD is made to copy in its own way, and the guest counts on meanwhile."""
    owner, other = tandem.ends()
    for host in (owner, other):
        host.shell(WITH_VERIFICATION)
    other.shell(SPOIL)
    assert owner.shell(DIGEST) != other.shell(DIGEST)
    epoch = tandem.authority()["epoch"]

    owner.shell(f"drbdadm verify {RESOURCE}")

    def copied() -> bool:
        held_by = tandem.authority()
        return bool(held_by["mode"] == "Mirrored" and held_by["epoch"] > epoch + 1)

    tandem.wait("the owner says Standalone, and after the copy Mirrored again", copied, 120.0)
    tandem.wait_redundant()
    assert owner.shell(DIGEST) == other.shell(DIGEST)
    assert tandem.ends()[0].name == owner.name
