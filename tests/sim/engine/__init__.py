"""Simulated time: one queue of what is due, programs as event loops on it, and what they log."""
