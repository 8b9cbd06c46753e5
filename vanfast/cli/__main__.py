"""`python -m vanfast.cli`, the same as `vanfast`."""

import sys

from vanfast.cli import main

sys.exit(main())
