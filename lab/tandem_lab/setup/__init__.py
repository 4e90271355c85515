"""Makes what the lab needs on this machine: packages, kernel, root image, guests.

Everything it makes is kept in the cache folder under a stamp of its recipe: a second run is
quick, a changed recipe is made again, and a run that was interrupted leaves nothing half done.
"""
