"""The only entry point of Dagster: everything it runs, with the resources that each job is given."""

from __future__ import annotations

import dagster as dg

from pipelines.defs.everything import definitions

defs: dg.Definitions = definitions()
