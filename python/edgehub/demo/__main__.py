"""`python -m edgehub.demo`."""

from edgehub.demo import main

raise SystemExit(main())
