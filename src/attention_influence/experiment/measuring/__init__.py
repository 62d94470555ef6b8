"""What is measured of the trained networks, and what must not be trained on for its sake."""
