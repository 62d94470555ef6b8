"""One run of an experiment: its network, its packed rows, and transformers' Trainer over them."""
