"""A Kubernetes API server with a network before it, simulated: the other end of ``tandem_kube``.

``server`` keeps objects and answers; ``api`` and ``stream`` are the ways to it and what goes wrong
there; ``transport`` is what a program's client is given. A request's path through the server:
``handler`` (what is asked), ``patches``, ``schema`` and ``rules`` (what becomes of it), ``store``.

It keeps to what a real server does where a client can see it, and the same contract tests hold both
(``tests/contract/test_apiserver.py``).
"""

from sim.apiserver.api import NO_ANSWER, NO_CONNECTION, Api, Refusal, Wire
from sim.apiserver.failures import Failure
from sim.apiserver.newer import NewerTransport
from sim.apiserver.server import Missing, Server
from sim.apiserver.transport import SimTransport

__all__ = [
    "NO_ANSWER",
    "NO_CONNECTION",
    "Api",
    "Failure",
    "Missing",
    "NewerTransport",
    "Refusal",
    "Server",
    "SimTransport",
    "Wire",
]
