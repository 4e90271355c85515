"""What is known, and what it comes to. Nothing here decides about a guest.

``model`` has the values that all decisions are made from.
"""
