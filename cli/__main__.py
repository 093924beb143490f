"""`python -m cli`: the same as `affect`."""

from cli import main

main()
