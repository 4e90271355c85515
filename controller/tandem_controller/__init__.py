"""The controller: decides where guests run, and says why.

One planner: watches fill a store, ``decide.plan`` turns a snapshot of it into writes, ``execute``
performs them. It never touches a host, and never changes a mirror's authority except to set it up
and to carry out a person's override.
"""
