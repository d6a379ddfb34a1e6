"""What a llama.cpp server is asked for besides generating: its tokenizer, its adapters, what pictures cost.

Imported by `llama_cpp.py` alone.
"""
