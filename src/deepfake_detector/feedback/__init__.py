"""Labels that people give to answers of the service -> reviewed pictures -> two labelled sources: train and test."""
