"""Judges of what people write that several programs ask: one for each thing that is judged."""
