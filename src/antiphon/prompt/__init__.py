"""From a conversation to the ids of a prompt: repair, render, fence, tokenise, fit."""
