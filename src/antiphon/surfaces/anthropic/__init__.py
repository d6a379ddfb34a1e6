"""What Anthropic's APIs have in common: the envelope of failures, and lists page by page.

Imported by every surface that answers in their words. Knows the core types and what a surface is; knows no route.
"""
