"""``python -m tandem_scale host``: what hundreds of guests cost a host (`make bench-scale`)."""

import sys

from tandem_scale import host

COMMANDS = {"host": host.run}


def main() -> int:
    """Entry point. Exit codes: 0, 1 a healthy guest was fenced, 2 there is no such command."""
    name, *rest = sys.argv[1:] or [""]
    if name not in COMMANDS:
        print(f"one of: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return COMMANDS[name](rest)


if __name__ == "__main__":
    sys.exit(main())
