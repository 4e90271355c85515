"""`python -m tandem_lab` is `tandem-lab`."""

from tandem_lab.cli import main

main()
