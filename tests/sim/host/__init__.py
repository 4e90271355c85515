"""One host: power, clock, files, watchdog, fence agent, and guests that come from another."""
