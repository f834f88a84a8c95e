"""`python -m minillm` is the command `minillm`, also where its script is not on the PATH."""

from minillm.cli import main

raise SystemExit(main())
