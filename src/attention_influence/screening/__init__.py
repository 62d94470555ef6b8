"""Which documents need no model: a cheap prediction of influence, and a cut with a guarantee. No torch here."""
