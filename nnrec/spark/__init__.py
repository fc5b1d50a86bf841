"""Apache Spark for what outgrows one machine: shards from raw logs, and top-N lists for all users.

Needs the extra `spark` (pip install 'nnrec[spark]') and Java. `python -m nnrec.spark` runs on this machine's cores; the
same file, `nnrec/spark/__main__.py`, given to `spark-submit` runs on a cluster.
"""
