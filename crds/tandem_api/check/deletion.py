"""Why an object should not be deleted now, though its API server would do it.

Pure: values in, problems out. Called by the admission webhook; the API server's own policies say
the same of mirrors (``policies``).
"""

from collections.abc import Iterable, Iterator

from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.meta import GROUP, Problem, Resource

DELETE_ANYWAY = f"{GROUP}/delete-although-in-use"


def deletion_problems(each: Resource) -> list[Problem]:
    """Why an object should not be deleted now. A mirror's status is all that is known of it."""
    authority = each.status.authority if isinstance(each, Mirror) else None
    if authority is None or each.metadata.annotations.get(DELETE_ANYWAY) == each.metadata.uid:
        return []
    anyway = f"To delete it all the same, annotate it: {DELETE_ANYWAY}: {each.metadata.uid}"
    found = []
    if authority.owner:
        used = f"is in use by {authority.owner} ({authority.mode}), and which copy counts would be"
        found.append(f"mirror {each.key} {used} forgotten; delete its guest first. {anyway}")
    good = [host for host, entry in authority.eligible.items() if entry.eligible]
    if len(good) == 1:
        alone = f"has every write on {good[0]} alone, and that would be forgotten"
        found.append(f"mirror {each.key} {alone}; wait until it is redundant. {anyway}")
    return [Problem("metadata", message) for message in found]


def use_problems(each: Resource, others: Iterable[Resource]) -> list[Problem]:
    """Why a Host or a Site should not be deleted now, by the Mirrors or Hosts that need it."""
    if each.metadata.annotations.get(DELETE_ANYWAY) == each.metadata.uid:
        return []
    name, users = each.metadata.name, sorted(_users(each, others))
    if not users:
        return []
    more = f" and {len(users) - 1} more" if len(users) > 1 else ""
    message = (
        f"{type(each).__name__.lower()} {name} is in use by {users[0]}{more}; delete what uses it"
        f" first. To delete it all the same, annotate it: {DELETE_ANYWAY}: {each.metadata.uid}"
    )
    return [Problem("metadata", message)]


def _users(each: Resource, others: Iterable[Resource]) -> Iterator[str]:
    name = each.metadata.name
    for other in others:
        if isinstance(each, Host) and isinstance(other, Mirror) and other.replica_on(name):
            yield f"mirror {other.key}"
        if isinstance(each, Site) and isinstance(other, Host) and other.spec.site == name:
            yield f"host {other.key}"
