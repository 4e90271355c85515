"""What a host keeps in files, each with what a crash leaves of it."""
