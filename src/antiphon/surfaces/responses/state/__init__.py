"""What is kept of the Responses API: responses, conversations, and what was told of responses in the background.

`response_store` and `conversations` hold them over the store, whose `tables` are here; `response_routes` and
`conversation_routes` are their routes, `background` makes responses that nobody waits for, `keeper` is what one request
has of all that.
"""
