"""A management cluster with real nodes on this machine, to run the operator in as its users do.

The third place's control plane, as in the lab; two nodes, each with a kubelet, a containerd and a
kube-proxy of its own; images built from the project's Dockerfile. `make pods` runs it.
"""
