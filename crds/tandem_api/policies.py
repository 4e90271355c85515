"""What the API server itself refuses: ``writers`` said once more, as rules in CEL.

Each ``Policy`` becomes a ValidatingAdmissionPolicy. It runs within the API server, so it cannot be
away, and it fails closed. It sees one object before and after, and who asks; what needs other
objects stays with the admission webhook. A rule that is too strict would keep a takeover from being
written, so every rule here stands in ``writers`` or ``validation`` too, with the same sentence, and
tests hold the two together over all writes that the programs make.

A status is looked at as ``dyn``: what it lacks is then a question for the rule, not an error, and
an error would refuse. A field that is absent, null or empty text is the same, as in ``writers``.
No function beyond those of 1.30.

Holds values only. Called by ``policygen``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tandem_api.deletion import DELETE_ANYWAY
from tandem_api.lease import LEASE_NAMESPACE
from tandem_api.meta import GROUP, VERSION
from tandem_api.registry import GUEST, HOST, MIRROR, KindInfo
from tandem_api.writers import (
    CONTROLLER_USER,
    HOST_USER_PREFIX,
    HOSTS_GROUP,
)


@dataclass(frozen=True)
class Validation:
    """A CEL expression that must be true, and one that gives what a person reads if it is not."""

    expression: str
    message: str


@dataclass(frozen=True)
class Policy:
    """One policy. ``variables`` are named expressions, each of which may use those before it."""

    name: str
    about: str
    resource: str
    operations: tuple[str, ...]
    validations: tuple[Validation, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    group: str = GROUP
    version: str = VERSION
    scope: str = "Namespaced"
    namespace: str = ""


def _or(where: str, name: str, default: str) -> str:
    """A field, or the default where it is absent or null."""
    path = f"{where}.{name}"
    return f"has({path}) && {path} != null ? {path} : {default}"


_NOTHING = "''"

# -- who asks

_USER = "request.userInfo.username"
_WHO: Mapping[str, str] = {
    "me": f"{_USER}.startsWith('{HOST_USER_PREFIX}') ?"
    f" {_USER}.substring({len(HOST_USER_PREFIX)}) : ''",
    "isHost": f"{_USER}.startsWith('{HOST_USER_PREFIX}') ||"
    f" (has(request.userInfo.groups) && '{HOSTS_GROUP}' in request.userInfo.groups)",
    "isController": f"!variables.isHost && {_USER} == '{CONTROLLER_USER}'",
    "writer": "'host ' + (variables.me == '' ? 'without a name' : variables.me)",
}

# -- whose field it is


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
        "had": _or("variables.before", entries, "dyn({})"),
        "holds": _or("variables.after", entries, "dyn({})"),
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


def _status(info: KindInfo[Any], about: str) -> Policy:
    entries = info.hosts_entries
    return Policy(
        name=f"tandem-{info.kind.lower()}-status",
        about=about,
        resource=f"{info.plural}/status",
        operations=("UPDATE",),
        variables={**_WHO, **_STATUSES, **(_others(entries) if entries else {})},
        validations=_fields(info),
        scope=info.scope,
    )


# -- the authority

_FIELD = "status.authority"
_AUTHORITY: Mapping[str, str] = {
    "wasThere": "has(variables.before.authority) && variables.before.authority != null",
    "isThere": "has(variables.after.authority) && variables.after.authority != null",
    "was": "variables.wasThere ? variables.before.authority : dyn({})",
    "now": "variables.isThere ? variables.after.authority : dyn({})",
    "swapped": "'authority' in variables.changed",
    "first": "variables.swapped && variables.isThere && !variables.wasThere",
    "next": "variables.swapped && variables.isThere && variables.wasThere",
    "byHost": "variables.next && variables.isHost",
    "wasOwner": _or("variables.was", "owner", "''"),
    "owner": _or("variables.now", "owner", "''"),
    "wasInstance": _or("variables.was", "ownerInstance", "''"),
    "instance": _or("variables.now", "ownerInstance", "''"),
    "wasMode": _or("variables.was", "mode", "'Mirrored'"),
    "mode": _or("variables.now", "mode", "'Mirrored'"),
    "keepers": "object.spec.replicas.map(r, r.host)",
    "node": "variables.instance.split('/').size() == 3"
    " && variables.instance.split('/').all(p, p != '') ? variables.instance.split('/')[0] : ''",
    "wasFenced": _or("variables.was", "fenced", "dyn({})"),
    "fenced": _or("variables.now", "fenced", "dyn({})"),
    "fencedOthers": _other_keys("variables.wasFenced", "variables.fenced"),
    "ordered": "has(variables.now.override) && variables.now.override != null",
    "sameOrder": "variables.ordered && has(variables.was.override)"
    " && variables.was.override == variables.now.override",
    "claims": "variables.byHost && variables.owner == variables.me"
    " && variables.wasOwner != variables.me",
    "eligible": _or("variables.was", "eligible", "dyn({})"),
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
        _FIELD,
        "'cannot be removed: it says who may write, and which writes count'",
    ),
    _rule(
        "variables.first",
        "!variables.isHost",
        _FIELD,
        "'is set up by the controller, and ' + variables.writer + ' did'",
    ),
    _rule(
        "variables.first",
        "(variables.now.epoch == 1 && variables.owner == '')",
        _FIELD,
        "'must begin at epoch 1 without an owner'",
    ),
    _rule(
        "variables.next",
        "variables.now.epoch == variables.was.epoch + 1",
        f"{_FIELD}.epoch",
        "'goes from ' + string(variables.was.epoch) + ' to ' + string(variables.now.epoch)"
        " + '; every write raises it by exactly one'",
    ),
    _rule(
        "variables.next",
        "variables.now.incarnation == variables.was.incarnation",
        f"{_FIELD}.incarnation",
        "'never changes'",
    ),
    _rule(
        "variables.next",
        f"({_or('variables.now', 'minProtocol', '1')})"
        f" >= ({_or('variables.was', 'minProtocol', '1')})",
        f"{_FIELD}.minProtocol",
        "'never falls'",
    ),
    _rule(
        "variables.next",
        "variables.owner == '' || variables.owner in variables.keepers"
        " || variables.owner == variables.wasOwner",
        f"{_FIELD}.owner",
        "variables.owner + ' keeps no replica of it; ' + variables.keepers.join(' or ') + ' do'",
    ),
    _rule(
        "variables.next",
        "variables.node == variables.owner",
        f"{_FIELD}.ownerInstance",
        "'\\'' + variables.instance + '\\' is none of \\'' + variables.owner + '\\'\\'s'",
    ),
)
_BY_HOST = (
    _rule(
        "variables.byHost",
        "variables.wasOwner in ['', variables.me] || variables.claims",
        _FIELD,
        "'is ' + variables.wasOwner + '\\'s; ' + variables.writer + ' may only claim it'",
    ),
    _rule(
        "variables.byHost",
        "variables.owner in ['', variables.me]",
        f"{_FIELD}.owner",
        "'is ' + variables.owner + ': ' + variables.writer + ' may write its own name alone'",
    ),
    _rule(
        "variables.byHost",
        "variables.mode == variables.wasMode"
        " || (variables.wasMode != 'Hold' && variables.mode in ['Mirrored', 'Standalone'])",
        f"{_FIELD}.mode",
        "'no host may change it from ' + variables.wasMode + ' to ' + variables.mode",
    ),
    Validation(
        "!variables.byHost || variables.fenced.size() == 0 || variables.fencedOthers.size() == 0",
        f"'{_FIELD}.fenced.' + variables.fencedOthers.min() + ': is that host\\'s own word, not '"
        " + variables.writer + '\\'s'",
    ),
    _rule(
        "variables.byHost",
        "!variables.ordered || variables.sameOrder",
        f"{_FIELD}.override",
        "'is a person\\'s order, and ' + variables.writer + ' wrote one'",
    ),
    _rule(
        "variables.claims",
        "variables.wasOwner == '' || variables.wasMode != 'Standalone'",
        f"{_FIELD}.owner",
        "variables.wasOwner + ' may have written alone; ' + variables.writer + ' cannot have it'",
    ),
    _rule(
        "variables.claims",
        "(variables.me in variables.eligible && variables.eligible[variables.me].eligible)",
        f"{_FIELD}.owner",
        "variables.me + ' may lack acknowledged writes; it cannot have it'",
    ),
    _rule(
        "variables.claims",
        "!variables.assigns || variables.assigned",
        f"{_FIELD}.owner",
        "'no guest of this mirror is assigned to ' + variables.me",
    ),
    _rule(
        "variables.claims",
        "!variables.assigns || variables.wasOwner == '' || (variables.proven"
        " && !(variables.proof.kind in ['Unowned', 'SameHost'])"
        " && variables.proof.atEpoch == variables.was.epoch"
        f" && ({_or('variables.proof', 'instance', _NOTHING)}) == variables.wasInstance)",
        f"{_FIELD}.owner",
        "'the assignment to ' + variables.me + ' holds no proof that ' + variables.wasOwner"
        " + ' has stopped (' + variables.wasInstance + ' at epoch ' + string(variables.was.epoch)"
        " + ')'",
    ),
)
_BY_CONTROLLER = (
    _rule(
        "(variables.next && variables.isController)",
        "(variables.owner == '' && variables.ordered && !variables.sameOrder)",
        _FIELD,
        "'is the hosts\\' to change; the controller carries out overrides only'",
    ),
)


def _mirror_status() -> Policy:
    fields = _status(
        MIRROR,
        "Each host reports of its own replica, and the authority goes by the protocol's rules"
        " (docs/protocol.md): whoever writes it, by one epoch at a time.",
    )
    return replace(
        fields,
        variables={**fields.variables, **_AUTHORITY},
        validations=(*fields.validations, *_EVERYBODY, *_BY_HOST, *_BY_CONTROLLER),
    )


# -- what is not a status

_ANNOTATIONS = "oldObject.metadata.annotations"
_DELETION = Policy(
    name="tandem-mirror-deletion",
    about="A mirror that is in use, or of which only one copy is good, is not deleted by mistake:"
    " which copy counts would be forgotten.",
    resource=MIRROR.plural,
    operations=("DELETE",),
    variables={
        "was": "has(oldObject.status) && has(oldObject.status.authority)"
        " ? dyn(oldObject.status.authority) : dyn(null)",
        "known": "variables.was != null ? variables.was : dyn({})",
        "owner": _or("variables.known", "owner", "''"),
        "mode": _or("variables.known", "mode", "'Mirrored'"),
        "eligible": _or("variables.known", "eligible", "dyn({})"),
        "good": "variables.eligible.filter(k, variables.eligible[k].eligible)",
        "meant": f"has({_ANNOTATIONS}) && '{DELETE_ANYWAY}' in {_ANNOTATIONS}"
        f" && {_ANNOTATIONS}['{DELETE_ANYWAY}'] == oldObject.metadata.uid",
        "name": "'metadata: mirror ' + oldObject.metadata.namespace + '/'"
        " + oldObject.metadata.name",
        "anyway": "'. To delete it all the same, annotate it:"
        f" {DELETE_ANYWAY}: ' + oldObject.metadata.uid",
    },
    validations=(
        Validation(
            "variables.owner == '' || variables.meant",
            "variables.name + ' is in use by ' + variables.owner + ' (' + variables.mode + '),"
            " and which copy counts would be forgotten; delete its guest first'"
            " + variables.anyway",
        ),
        Validation(
            "variables.good.size() != 1 || variables.meant",
            "variables.name + ' has every write on ' + variables.good[0] + ' alone, and that would"
            " be forgotten; wait until it is redundant' + variables.anyway",
        ),
    ),
)
_HEARTBEATS = Policy(
    name="tandem-heartbeats",
    about="A heartbeat's Lease is made by its own host alone, and a host makes no other Lease."
    " That nobody else renews it is RBAC's part, which cannot bind a creation to a name.",
    group="coordination.k8s.io",
    version="v1",
    resource="leases",
    operations=("CREATE",),
    namespace=LEASE_NAMESPACE,
    variables=_WHO,
    validations=(
        Validation(
            "!variables.isHost || object.metadata.name == 'host-' + variables.me",
            "'metadata.name: ' + variables.writer + ' makes no Lease but host-' + variables.me",
        ),
        Validation(
            "variables.isHost || !object.metadata.name.startsWith('host-')",
            "'metadata.name: ' + object.metadata.name"
            " + ' is a heartbeat; the host itself makes it'",
        ),
    ),
)
_OVERRIDE = Policy(
    name="tandem-override",
    about="Who orders an override puts their own name under it: the name that the API server knows"
    " them by. Judged only where the order changes.",
    resource=MIRROR.plural,
    operations=("CREATE", "UPDATE"),
    variables={
        "before": "oldObject != null && has(oldObject.spec.override)"
        " ? dyn(oldObject.spec.override) : dyn(null)",
        "order": "has(object.spec.override) ? dyn(object.spec.override) : dyn(null)",
    },
    validations=(
        Validation(
            "variables.order == null || variables.order == variables.before"
            f" || variables.order.by == {_USER}",
            "'spec.override.by: is ' + variables.order.by + ', and it is ' + "
            f"{_USER} + ' who orders it; write that name'",
        ),
    ),
)

POLICIES: tuple[Policy, ...] = (
    _mirror_status(),
    _status(
        GUEST,
        "Each host reports of a guest in its own name; where it shall run is"
        " the controller's to say.",
    ),
    _status(
        HOST,
        "A host says itself which boot and run it is, and of nobody else.",
    ),
    _DELETION,
    _HEARTBEATS,
    _OVERRIDE,
)
