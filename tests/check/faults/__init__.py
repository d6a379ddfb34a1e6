"""A hundred ways to get the Messages API wrong, each with the checks that must find it."""

from . import agent, basic, full

FAULTS = (*basic.FAULTS, *agent.FAULTS, *full.FAULTS)
