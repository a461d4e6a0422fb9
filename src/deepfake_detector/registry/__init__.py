"""Numbers -> decisions about which model serves."""
