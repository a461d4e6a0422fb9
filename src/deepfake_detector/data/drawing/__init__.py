"""Random numbers -> a drawn portrait: the people of the embedded data set, who do not exist."""
