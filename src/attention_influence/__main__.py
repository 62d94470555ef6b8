"""`python -m attention_influence` is the command `attention-influence`."""

import sys

from attention_influence.cli import main

sys.exit(main())
