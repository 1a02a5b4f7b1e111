"""F1: networks as building blocks; each says its parameter count and shapes."""
