"""Judges every step by what is so in truth: the promises, and what they rest on."""
