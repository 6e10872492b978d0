"""`python -m mongokey.cli`: the same as the console script `mongokey`."""

from mongokey.cli.main import main

main()
