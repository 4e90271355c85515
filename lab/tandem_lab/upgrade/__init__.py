"""Upgrades, played on real parts: one version first, then the other, host by host, guests running.

`plan` says what is done in which order, `judging` what must hold after each step: both are pure.
`versions` has the files of a revision, `looking` sees, `playing` does, `__main__` is the program.
"""
