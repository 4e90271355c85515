"""The API server refuses, does not answer, has forgotten; and watches that end or lose lines.

Called by ``verbs``, and by what mends all of it.
"""

from sim.apiserver.api import NO_ANSWER, Refusal
from sim.apiserver.failures import expired
from sim.world import World

CONTROLLER = "controller"
WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})
HALF = 0.5


def host_of(program: str) -> str:
    """As the API knows it: the controllers are of no host."""
    return "" if program == CONTROLLER else program


def refuse(world: World, program: str, code: str, what: str = "") -> None:
    """What this program asks is refused: all of it, its writes, or half of it by chance; or its
    writes are done, and refused all the same.
    """
    world.log.say("scenario", f"api refuse {program} {code} {what}".rstrip())
    host, number = host_of(program), int(code)
    refusal = Refusal(number, host=host)
    if what == "writes":
        refusal = Refusal(number, host=host, methods=WRITES)
    elif what == "half":
        refusal = Refusal(number, share=HALF, host=host)
    elif what == "objects":
        refusal = Refusal(number, host=host, but_leases=True)
    elif what == "done":
        refusal = Refusal(number, host=host, methods=WRITES, after=True)
    world.api.refusals.append(refusal)


def mute(world: World, program: str) -> None:
    """What this program writes is done, and it never hears so, until ``api accept``."""
    world.log.say("scenario", f"api mute {program}")
    refusal = Refusal(NO_ANSWER, host=host_of(program), methods=WRITES, after=True)
    world.api.refusals.append(refusal)


def only_leases(world: World, program: str) -> None:
    """Only what concerns Leases passes, as on a way that drops large packets, or beside a webhook
    that hangs for the rest; until ``api accept``.
    """
    world.log.say("scenario", f"api narrow {program}")
    narrow(world, host_of(program))


def narrow(world: World, host: str) -> None:
    """May be done again, and then changes nothing."""
    refusal = Refusal(NO_ANSWER, host=host, but_leases=True)
    if refusal not in world.api.refusals:
        world.api.refusals.append(refusal)
    for stream in world.api.streams_of(host):
        stream.fall_silent()


def accept(world: World, program: str) -> None:
    world.log.say("scenario", f"api accept {program}")
    host = host_of(program)
    world.api.refusals[:] = [one for one in world.api.refusals if one.host != host]


def stale(world: World, *, stands: bool) -> None:
    """What reads at version 0 are answered from hears of nothing; quorum reads do not ask it."""
    world.log.say("scenario", f"api {'stale' if stands else 'fresh'}")
    world.api.cache_stands(stands)


def compact(world: World) -> None:
    """What has been is forgotten: no watch can go on from an earlier version."""
    world.log.say("scenario", "api compact")
    world.api.server.store.compact()


def watch_expire(world: World, program: str) -> None:
    """Each of its watches ends with 410; it must list again."""
    world.log.say("scenario", f"watch expire {program}")
    version = world.api.server.version
    for stream in world.api.streams_of(host_of(program)):
        stream.fail(expired(version - 1, version).status())


def watch_lose(world: World, program: str, percent: str) -> None:
    """So many of a hundred lines never come. 0 ends it, and its watches: it lists again."""
    world.log.say("scenario", f"watch lose {program} {percent}")
    host, share = host_of(program), float(percent) / 100
    lost, doubled = world.api.spoilt.get(host, (0.0, 0.0))
    world.api.spoil(host, share, doubled)
    if lost and not share:
        for stream in world.api.streams_of(host):
            stream.close()


def watch_double(world: World, program: str, percent: str) -> None:
    """So many of a hundred lines come twice. 0 ends it."""
    world.log.say("scenario", f"watch double {program} {percent}")
    host = host_of(program)
    lost, _ = world.api.spoilt.get(host, (0.0, 0.0))
    world.api.spoil(host, lost, float(percent) / 100)
