"""Guests that are sent as they run: the one way between two hosts' libvirt, and nothing else on it.

A host's libvirt is root there, so neither listens on the network. The source's libvirt library
speaks to the target's libvirtd through a pipe of both actuators, in which ``rpc`` lets nothing pass
but one migration of one expected guest; QEMU's memory goes through a second stream of the same.
"""
