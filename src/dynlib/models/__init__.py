"""The built-in models, as TOML files."""
