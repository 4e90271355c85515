"""What a host decides, as pure functions and generators. No clock, no I/O, no logging in here.

An index:

=============  =====================================================================
``order``      the entry point: all rules in their order of precedence, and ``decide``
``authority``  what a host may make of a mirror's authority
``mirror``     what is done to a replica, step by step: DRBD's questions, files, record
``guest``      what is done to a guest, and the domain that libvirt is given
``host``       whether this host may run guests at all, and how a run begins
``report``     what a host says of a replica and a guest
``effects``    what a procedure may ask of the outside, and what it may hear back
``decision``   what a rule may come to
``model``      what a host knows: the values that all of it is made from
``wall``       where a bug was met in one mirror, and when that is tried again
=============  =====================================================================
"""
