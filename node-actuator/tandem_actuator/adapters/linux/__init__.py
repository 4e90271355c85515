"""The host's own kernel: processes, memory, clocks, the watchdog, threads for what may hang."""
