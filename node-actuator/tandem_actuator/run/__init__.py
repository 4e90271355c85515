"""What makes the actuator go: heartbeat, guard, a loop for each mirror, and what performs effects.

``loop`` is where to begin; ``driver`` performs effects on the parts behind ``ports``.
"""
