"""sae-train: trains sparse and other auto-encoders from the command line."""
