"""What each subcommand of the command line does, from its configuration to its result."""
