"""What a llama.cpp server is asked beside generating: its tokenizer, its adapters, what pictures cost.

Imported by `llama_cpp.py` alone.
"""
