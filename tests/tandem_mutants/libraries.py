"""Imports what the project and its tests import from elsewhere, once for all trials.

A library that is missing here only costs each trial the time to import it.
"""

import gc
from importlib import import_module

LIBRARIES = (
    "aiohttp",
    "asyncio",
    "cel",
    "defusedxml.ElementTree",
    "hypothesis",
    "kopf",
    "kubernetes.client",
    "libvirt",
    "openapi_schema_validator",
    "prometheus_client",
    "pydantic",
    "pytest_asyncio.plugin",
    "pytest_rerunfailures",
    "pytest_timeout",
    "xdist.scheduler.loadscope",
    "xml.etree.ElementTree",
    "yaml",
)

for _library in LIBRARIES:
    import_module(_library)
gc.freeze()
