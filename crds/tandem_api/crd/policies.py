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

from tandem_api.check.deletion import DELETE_ANYWAY
from tandem_api.crd.policy import USER, Policy, Validation
from tandem_api.crd.status_policies import WHO, mirror_status, status, value_or
from tandem_api.lease import LEASE_NAMESPACE
from tandem_api.registry import GUEST, HOST, MIRROR

# -- who asks


# -- whose field it is


# -- the authority


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
        "owner": value_or("variables.known", "owner", "''"),
        "mode": value_or("variables.known", "mode", "'Mirrored'"),
        "eligible": value_or("variables.known", "eligible", "dyn({})"),
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
    variables=WHO,
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
            f" || variables.order.by == {USER}",
            "'spec.override.by: is ' + variables.order.by + ', and it is ' + "
            f"{USER} + ' who orders it; write that name'",
        ),
    ),
)

POLICIES: tuple[Policy, ...] = (
    mirror_status(),
    status(
        GUEST,
        "Each host reports of a guest in its own name; where it shall run is"
        " the controller's to say.",
    ),
    status(
        HOST,
        "A host says itself which boot and run it is, and of nobody else.",
    ),
    _DELETION,
    _HEARTBEATS,
    _OVERRIDE,
)
