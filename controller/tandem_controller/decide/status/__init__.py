"""What people read: the wanted status of each kind, and the smallest write that leads to it."""
