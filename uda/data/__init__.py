"""F1: from files on disk to batches of tensors."""
