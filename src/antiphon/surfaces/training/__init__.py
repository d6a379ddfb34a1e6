"""For those who train the models they serve (`docs/training.md`): new weights, and rewards for what was recorded.

Two surfaces, a file each. Knows the service, the recorder of trajectories, and HTTP.
"""
