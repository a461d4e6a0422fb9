"""Stage prepare: manifest and archives -> aligned crops in TFRecord shards."""
