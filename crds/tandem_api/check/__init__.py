"""Judges that several programs ask: pure, values in, problems out.

============== ======================================================
``parsing``    one object on its own
``catalogue``  all objects together, and which of them claims what
``validation`` a site, host or mirror among the others
``guests``     a guest among the others
``template``   a guest's ``spec.domain.template``
``deletion``   whether an object should be deleted now
``writers``    who may write what into a status
============== ======================================================
"""
