"""Talking to the Kubernetes API: quorum reads, compare-and-swap, patches, watches, leases.

Both programs use it. It carries values to and from the API server and decides nothing.
"""
