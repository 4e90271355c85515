"""What joins hosts and programs: links, what TCP tells of them, and Unix sockets."""
