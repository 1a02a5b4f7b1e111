"""F1: what is measured."""
