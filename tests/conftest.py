"""What all tests share: how hard the property tests look.

By default they draw the same examples every time, so that a run says something of the change and nothing of luck;
`HYPOTHESIS_PROFILE=search make test` draws new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# On a machine with two busy cores the time of one example says nothing.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
