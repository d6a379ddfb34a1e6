"""LMDeploy with its real engine, on a machine that has a GPU and no network.

`prepare` packs what has to travel, `run.sh` is the one command over there, and `there` is what it runs: the examples of
LMDeploy's page on the Messages API, `antiphon check`, the contract of engines, and speeds.
"""
