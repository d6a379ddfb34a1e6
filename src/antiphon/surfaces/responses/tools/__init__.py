"""The tools of a request, in the words of the Responses API.

`toolbox` makes the tools that a model sees of them: a client's own (`client_tools`, `shapes`) and those that run here
(`server_declarations`); `tool_choices` says which of them may be called, `approvals` which calls a client must approve,
and `approved_calls` runs those that it did.
"""
