"""`make bench-scale`: what the programs cost with thousands of guests, a part for each program."""

import argparse
import sys

from tandem_lab.scale import controller
from tandem_lab.scale.cluster import Size
from tandem_lab.scale.controller_table import show


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench_scale", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("controller", help="the controller, beside a simulated API server")
    part.add_argument("--runs", type=int, default=3)
    part.add_argument("--guests", type=int, help="with --hosts: this size alone")
    part.add_argument("--hosts", type=int, default=20, help="of both sites together")
    options = parser.parse_args(arguments)
    sizes = [Size(options.guests, options.hosts)] if options.guests else list(controller.SIZES)
    show(controller.run(sizes, options.runs), controller.console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
