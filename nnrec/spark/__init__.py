"""Apache Spark for data that one machine cannot hold: shards from raw logs, and top-N lists for all users.

Needs the extra `spark` (pip install 'nnrec[spark]') and Java. `python -m nnrec.spark` runs on the cores of this
machine; passing the file `nnrec/spark/__main__.py` to `spark-submit` runs the same on a cluster.
"""
