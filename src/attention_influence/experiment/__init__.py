"""Does data chosen by a ranking train better models? Arms × seeds of small training runs, measured and compared."""
