"""``python -m mongokey``: the command line."""

from mongokey.cli.main import main

if __name__ == "__main__":
    main()
