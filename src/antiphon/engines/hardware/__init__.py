"""The machine that the embedded engine runs on: its cores, memory and graphics processors, and what fits into them.

`machine` says what there is, `memory` divides it into windows and slots (`cache_size` knows what a token takes),
`ceiling` ends an engine before it takes more, `accelerators` finds a graphics processor that is not used.
"""
