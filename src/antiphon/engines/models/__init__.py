"""Model files: where they come from, and what they say of themselves.

`model_store` finds and fetches them, `catalogue` knows some by short names, `gguf` reads a file's header,
`vocabulary_file` makes one of the vocabulary alone, `tokenizer_files` finds the tokenizers of other engines' models,
and `identity` says whether the state of two engines means the same.
"""
