"""Recommends: `python predict.py run=runs/autorec/ml-1m/... output=recommendations.csv`."""

from nnrec.commands.cli import script

if __name__ == "__main__":
    script("predict")
