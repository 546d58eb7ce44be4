"""`python -m guerillabackup`: the command, where only the package is at hand. Touches: nothing itself."""

from guerillabackup.cli.main import main

if __name__ == "__main__":
    main()
