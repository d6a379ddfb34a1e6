"""Code that a model writes, run here: `family` is the tool, `sandbox` what it runs in, `containers` what it leaves."""
