"""What concerns a host as a whole: until when it may run guests, and how a run begins."""
