"""Reports and bundle of a trained model -> a registered version, the gate's decision, and the aliases."""
