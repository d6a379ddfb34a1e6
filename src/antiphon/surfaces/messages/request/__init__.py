"""A request of the Messages API, from bytes to nouns: `wire` has its structs, `draft` reads what needs nothing else,
`decode` makes a conversation of it, and `reader` does all of that for an exchange."""
