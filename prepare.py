"""Prepares shards: `python prepare.py data=table data.source.path=log.csv split=user_time output=shards/log`."""

from nnrec.commands.cli import script

if __name__ == "__main__":
    script("prepare")
