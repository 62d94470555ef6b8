"""What an experiment trains on: its corpus as tokens, and which documents an arm adds."""
