"""Judges that several programs ask: pure, values in, problems out.

============== ======================================================
``parsing``    one object on its own
``validation`` an object among the others
``template``   a guest's ``spec.domain.template``
``deletion``   whether an object should be deleted now
``writers``    who may write what into a status
============== ======================================================
"""
