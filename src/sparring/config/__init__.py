"""The configuration: schema, types, overrides, messages. Nothing here imports torch."""
