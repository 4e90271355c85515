"""Who may write what into a status: ``check.writers`` said once more, as rules in CEL."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tandem_api.check.writers import CONTROLLER_USER, HOST_USER_PREFIX, HOSTS_GROUP
from tandem_api.crd.policy import FIELD, NOTHING, USER, Policy, Validation
from tandem_api.registry import MIRROR, KindInfo


def value_or(where: str, name: str, default: str) -> str:
    """A field, or the default where it is absent or null."""
    path = f"{where}.{name}"
    return f"has({path}) && {path} != null ? {path} : {default}"


WHO: Mapping[str, str] = {
    "me": f"{USER}.startsWith('{HOST_USER_PREFIX}') ?"
    f" {USER}.substring({len(HOST_USER_PREFIX)}) : ''",
    "isHost": f"{USER}.startsWith('{HOST_USER_PREFIX}') ||"
    f" (has(request.userInfo.groups) && '{HOSTS_GROUP}' in request.userInfo.groups)",
    "isController": f"!variables.isHost && {USER} == '{CONTROLLER_USER}'",
    "writer": "'host ' + (variables.me == '' ? 'without a name' : variables.me)",
}


def _set(where: str) -> str:
    """The names of the fields that hold something."""
    value = f"{where}[k]"
    return (
        f"{where}.filter(k, {value} != null && {value} != '' && {value} != 0"
        f" && {value} != [] && {value} != {{}})"
    )


def _changed(before: str, after: str, names_before: str, names_after: str) -> str:
    """The names that are in one alone, or with another value."""
    return (
        f"({names_after} + {names_before}.filter(k, !(k in {names_after})))"
        f".filter(k, !(k in {names_before} && k in {names_after} && {before}[k] == {after}[k]))"
    )


_STATUSES: Mapping[str, str] = {
    "before": "has(oldObject.status) ? dyn(oldObject.status) : dyn({})",
    "after": "has(object.status) ? dyn(object.status) : dyn({})",
    "wasSet": _set("variables.before"),
    "isSet": _set("variables.after"),
    "changed": _changed(
        "variables.before", "variables.after", "variables.wasSet", "variables.isSet"
    ),
}


def _other_keys(before: str, after: str) -> str:
    """The keys of two maps that changed and are not the writer's own."""
    keys = _changed(before, after, f"{before}.map(k, k)", f"{after}.map(k, k)")
    return f"{keys}.filter(k, k != variables.me)"


def _others(entries: str) -> Mapping[str, str]:
    """The entries that changed and are not the writer's own."""
    return {
        "had": value_or("variables.before", entries, "dyn({})"),
        "holds": value_or("variables.after", entries, "dyn({})"),
        "others": _other_keys("variables.had", "variables.holds"),
    }


def _listed(names: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in sorted(names)) + "]"


def _fields(info: KindInfo[Any]) -> tuple[Validation, ...]:
    """Each writer has its own part. People have all of it."""
    entries = info.hosts_entries
    hosts = {entries} if entries else info.hosts_own
    foreign = f"variables.changed.filter(k, !(k in {_listed(hosts | info.shared)}))"
    theirs = f"variables.changed.filter(k, k in {_listed(hosts)})"
    found = [
        Validation(
            f"!variables.isHost || {foreign}.size() == 0",
            f"'status.' + {foreign}.min() + ': is not a host\\'s to write, and '"
            " + variables.writer + ' did'",
        ),
        Validation(
            f"!variables.isController || {theirs}.size() == 0",
            f"'status.' + {theirs}.min()"
            " + ': is each host\\'s own; the controller leaves it alone'",
        ),
    ]
    if entries:
        entry = "variables.others.min()"
        found.append(
            Validation(
                "!variables.isHost || variables.others.size() == 0",
                f"'status.{entries}.' + {entry} + ': belongs to host ' + {entry}"
                " + ', not to ' + variables.writer",
            )
        )
    else:
        found.append(
            Validation(
                f"!variables.isHost || {theirs}.size() == 0"
                " || object.metadata.name == variables.me",
                f"'status.' + {theirs}.min() + ': belongs to host ' + object.metadata.name"
                " + ', not to ' + variables.writer",
            )
        )
    return tuple(found)


def status(info: KindInfo[Any], about: str) -> Policy:
    entries = info.hosts_entries
    return Policy(
        name=f"tandem-{info.kind.lower()}-status",
        about=about,
        resource=f"{info.plural}/status",
        operations=("UPDATE",),
        variables={**WHO, **_STATUSES, **(_others(entries) if entries else {})},
        validations=_fields(info),
        scope=info.scope,
    )


_AUTHORITY: Mapping[str, str] = {
    "wasThere": "has(variables.before.authority) && variables.before.authority != null",
    "isThere": "has(variables.after.authority) && variables.after.authority != null",
    "was": "variables.wasThere ? variables.before.authority : dyn({})",
    "now": "variables.isThere ? variables.after.authority : dyn({})",
    "swapped": "'authority' in variables.changed",
    "first": "variables.swapped && variables.isThere && !variables.wasThere",
    "next": "variables.swapped && variables.isThere && variables.wasThere",
    "byHost": "variables.next && variables.isHost",
    "wasOwner": value_or("variables.was", "owner", "''"),
    "owner": value_or("variables.now", "owner", "''"),
    "wasInstance": value_or("variables.was", "ownerInstance", "''"),
    "instance": value_or("variables.now", "ownerInstance", "''"),
    "wasMode": value_or("variables.was", "mode", "'Mirrored'"),
    "mode": value_or("variables.now", "mode", "'Mirrored'"),
    "keepers": "object.spec.replicas.map(r, r.host)",
    "node": "variables.instance.split('/').size() == 3"
    " && variables.instance.split('/').all(p, p != '') ? variables.instance.split('/')[0] : ''",
    "wasFenced": value_or("variables.was", "fenced", "dyn({})"),
    "fenced": value_or("variables.now", "fenced", "dyn({})"),
    "fencedOthers": _other_keys("variables.wasFenced", "variables.fenced"),
    "ordered": "has(variables.now.override) && variables.now.override != null",
    "sameOrder": "variables.ordered && has(variables.was.override)"
    " && variables.was.override == variables.now.override",
    "migration": value_or("variables.now", "migration", "dyn({})"),
    "wasMigration": value_or("variables.was", "migration", "dyn({})"),
    "wasHandedOver": value_or("variables.was", "handedOver", "''"),
    "handedOver": value_or("variables.now", "handedOver", "''"),
    "hands": "variables.byHost && variables.wasOwner == variables.me"
    " && variables.wasMode == 'Migrating'"
    f" && ({value_or('variables.wasMigration', 'target', NOTHING)}) == variables.owner"
    f" && ({value_or('variables.wasMigration', 'id', NOTHING)}) == variables.handedOver",
    "claims": "variables.byHost && variables.owner == variables.me"
    " && variables.wasOwner != variables.me",
    "eligible": value_or("variables.was", "eligible", "dyn({})"),
    "assigns": "has(variables.before.claimants) && variables.before.claimants != null",
    "claimants": "variables.assigns ? variables.before.claimants : dyn({})",
    "assigned": "variables.me in variables.claimants",
    "proven": "variables.assigned && has(variables.claimants[variables.me].proof)"
    " && variables.claimants[variables.me].proof != null",
    "proof": "variables.proven ? variables.claimants[variables.me].proof : dyn({})",
}


def _rule(when: str, allowed: str, where: str, what: str) -> Validation:
    """Under a condition something must hold. ``what`` is a CEL expression for the sentence."""
    return Validation(f"!{when} || {allowed}", f"'{where}: ' + {what}")


_EVERYBODY = (
    _rule(
        "variables.swapped",
        "variables.isThere",
        FIELD,
        "'cannot be removed: it says who may write, and which writes count'",
    ),
    _rule(
        "variables.first",
        "!variables.isHost",
        FIELD,
        "'is set up by the controller, and ' + variables.writer + ' did'",
    ),
    _rule(
        "variables.first",
        "(variables.now.epoch == 1 && variables.owner == '')",
        FIELD,
        "'must begin at epoch 1 without an owner'",
    ),
    _rule(
        "variables.next",
        "variables.now.epoch == variables.was.epoch + 1",
        f"{FIELD}.epoch",
        "'goes from ' + string(variables.was.epoch) + ' to ' + string(variables.now.epoch)"
        " + '; every write raises it by exactly one'",
    ),
    _rule(
        "variables.next",
        "variables.now.incarnation == variables.was.incarnation",
        f"{FIELD}.incarnation",
        "'never changes'",
    ),
    _rule(
        "variables.next",
        f"({value_or('variables.now', 'minProtocol', '1')})"
        f" >= ({value_or('variables.was', 'minProtocol', '1')})",
        f"{FIELD}.minProtocol",
        "'never falls'",
    ),
    _rule(
        "variables.next",
        "variables.owner == '' || variables.owner in variables.keepers"
        " || variables.owner == variables.wasOwner",
        f"{FIELD}.owner",
        "variables.owner + ' keeps no replica of it; ' + variables.keepers.join(' or ') + ' do'",
    ),
    _rule(
        "variables.next",
        "variables.node == variables.owner",
        f"{FIELD}.ownerInstance",
        "'\\'' + variables.instance + '\\' is none of \\'' + variables.owner + '\\'\\'s'",
    ),
)


_BY_HOST = (
    _rule(
        "variables.byHost",
        "variables.wasOwner in ['', variables.me] || variables.claims",
        FIELD,
        "'is ' + variables.wasOwner + '\\'s; ' + variables.writer + ' may only claim it'",
    ),
    _rule(
        "variables.byHost",
        "(variables.owner in ['', variables.me] || variables.hands)",
        f"{FIELD}.owner",
        "'is ' + variables.owner + ': ' + variables.writer + ' may write its own name alone'",
    ),
    _rule(
        "variables.byHost",
        "variables.mode == variables.wasMode"
        " || (variables.wasMode != 'Hold' && variables.mode in ['Mirrored', 'Standalone'])"
        " || (variables.wasMode == 'Mirrored' && variables.mode == 'Migrating'"
        " && variables.wasOwner == variables.me && variables.owner == variables.me"
        f" && ({value_or('variables.migration', 'source', NOTHING)}) == variables.me"
        f" && !(({value_or('variables.migration', 'target', NOTHING)}) in ['', variables.me]))",
        f"{FIELD}.mode",
        "'no host may change it from ' + variables.wasMode + ' to ' + variables.mode",
    ),
    Validation(
        "!variables.byHost || variables.fenced.size() == 0 || variables.fencedOthers.size() == 0",
        f"'{FIELD}.fenced.' + variables.fencedOthers.min() + ': is that host\\'s own word, not '"
        " + variables.writer + '\\'s'",
    ),
    _rule(
        "variables.byHost",
        "!variables.ordered || variables.sameOrder",
        f"{FIELD}.override",
        "'is a person\\'s order, and ' + variables.writer + ' wrote one'",
    ),
    _rule(
        "variables.byHost",
        "variables.handedOver == '' || variables.handedOver == variables.wasHandedOver"
        " || variables.hands",
        f"{FIELD}.handedOver",
        "'is for the host to say that has sent the guest, of this migration'",
    ),
    _rule(
        "variables.claims",
        "variables.wasOwner == '' || variables.wasMode != 'Standalone'",
        f"{FIELD}.owner",
        "variables.wasOwner + ' may have written alone; ' + variables.writer + ' cannot have it'",
    ),
    _rule(
        "variables.claims",
        "(variables.me in variables.eligible && variables.eligible[variables.me].eligible)",
        f"{FIELD}.owner",
        "variables.me + ' may lack acknowledged writes; it cannot have it'",
    ),
    _rule(
        "variables.claims",
        "!variables.assigns || variables.assigned",
        f"{FIELD}.owner",
        "'no guest of this mirror is assigned to ' + variables.me",
    ),
    _rule(
        "variables.claims",
        "!variables.assigns || variables.wasOwner == '' || (variables.proven"
        " && !(variables.proof.kind in ['Unowned', 'SameHost'])"
        " && variables.proof.atEpoch == variables.was.epoch"
        f" && ({value_or('variables.proof', 'instance', NOTHING)}) == variables.wasInstance)",
        f"{FIELD}.owner",
        "'the assignment to ' + variables.me + ' holds no proof that ' + variables.wasOwner"
        " + ' has stopped (' + variables.wasInstance + ' at epoch ' + string(variables.was.epoch)"
        " + ')'",
    ),
)


_BY_CONTROLLER = (
    _rule(
        "(variables.next && variables.isController)",
        "(variables.owner == '' && variables.ordered && !variables.sameOrder)",
        FIELD,
        "'is the hosts\\' to change; the controller carries out overrides only'",
    ),
)


def mirror_status() -> Policy:
    fields = status(
        MIRROR,
        "Each host reports of its own replica, and the authority goes by the protocol's rules"
        " (docs/protocol.md): whoever writes it, by one epoch at a time.",
    )
    return replace(
        fields,
        variables={**fields.variables, **_AUTHORITY},
        validations=(*fields.validations, *_EVERYBODY, *_BY_HOST, *_BY_CONTROLLER),
    )
