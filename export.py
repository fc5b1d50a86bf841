"""Writes a model for servers: `python export.py run=runs/autorec/ml-1m/... output=models/autorec/1`."""

from nnrec.commands.cli import script

if __name__ == "__main__":
    script("export")
