"""One self-contained HTML page about a score store, its heads and its selection; and pictures of the heads."""
