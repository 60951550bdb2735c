"""Tables and images of any size to folders of shards, by Spark. pyspark is an extra, imported in this room only."""
