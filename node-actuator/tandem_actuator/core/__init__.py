"""What a host decides, as pure functions and generators. No clock, no I/O, no logging in here."""
