"""Compares recommenders: `python compare.py 'models=[popularity,ease,autorec]' data=ml-1m`."""

from nnrec.commands.cli import script

if __name__ == "__main__":
    script("compare")
