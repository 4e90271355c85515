"""Scenarios of which something is known: they fail, or go otherwise on DRBD 9. Called by tests."""

KNOWN_TO_FAIL: dict[str, str] = {}
"""Scenario → why it fails."""

OTHERWISE_ON_NINE: dict[str, str] = {
    "both-marked-and-only-bits-tell": (
        "9 forgets the bits as the two meet, and the owner has noted that a copy is owed, so it has"
        " whole disks copied by itself"
    ),
    "copy-is-forgotten": "9 does not forget a copy that is interrupted as it begins",
    "owners-disk-hangs": (
        "given up by force, a disk holds up later writes on 9 until it answers, so the guest does"
        " not leave"
    ),
    "owners-disk-dies-as-the-standby-reboots": (
        "beside a Primary without a disk 9 does not take a rebooted disk for current, so the guest"
        " cannot be stopped in an orderly way; a person has to give the order a second time"
    ),
}
"""Scenario → why what it expects does not come about on DRBD 9. All promises hold there, too."""
