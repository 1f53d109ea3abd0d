"""`python -m benchmarks.rivals`: installs the rivals, or measures them, without the command line of Samovar."""

from benchmarks.rivals.cli import rivals

if __name__ == "__main__":
    rivals()
