"""What shall become of each guest.

``situations`` is where to begin: the situations in their order of precedence, and a handler for
each. ``takeover``, ``moves`` and ``placement`` answer what these ask.
"""
