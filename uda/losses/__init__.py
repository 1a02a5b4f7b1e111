"""F1: losses as pure functions of tensors."""
