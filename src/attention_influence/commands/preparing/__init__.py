"""What several commands do before their work: load the model, look at the corpus, calibrate."""
