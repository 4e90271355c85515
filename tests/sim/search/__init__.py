"""Looks for seeds that break a promise, and shortens the scenarios that they stand for."""
