"""Trains a recommender: `python train.py model=autorec data=ml-1m`."""

from nnrec.commands.cli import script

if __name__ == "__main__":
    script("train")
