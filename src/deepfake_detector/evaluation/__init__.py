"""Stage evaluate: trained model and held-out pictures -> predictions, metrics, probes, figures, model card."""
