"""Level agent: what coding assistants need."""
