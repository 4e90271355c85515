"""The vocabulary that every Tandem program shares: kinds, authority, reasons and timing.

It holds values only. It reads no clock, opens no file, and imports neither program; both
programs, the simulator and the lab import it.
"""
