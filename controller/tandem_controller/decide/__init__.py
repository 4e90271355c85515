"""What the controller decides: pure functions from values to values.

Nothing here reads a clock, does I/O, logs or raises events. An index:

============  ======================================================================
``plan``      the entry point: from all that is known to all that shall be written
``known``     the snapshot, indexed, checked, with the heartbeats judged
``one_guest`` one guest: what is decided about it, and what is written because of that
``others``    the statuses of mirrors, hosts and sites
``walls``     a bug about one object costs that object alone
``world``     what is known: of hosts and Leases, links, replicas, and what is lawful
``guests``    what shall become of each guest: its situation, takeover, moves, placement
``mirrors``   setting a mirror up, who may claim it, copies, a person's override
``status``    what the statuses of all kinds say
``election``  which of the controller's replicas leads
``watches``   whether the watches that feed the controller are alive
============  ======================================================================
"""
