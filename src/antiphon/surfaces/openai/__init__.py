"""What the APIs of OpenAI have in common: the envelope of failures, functions, custom tools, content, efforts.

Imported by the surfaces that speak one of them. Knows the core types and what requests bring along; knows no route.
"""
