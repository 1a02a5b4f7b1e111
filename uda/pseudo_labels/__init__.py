"""F2: pseudo-label strategies, one method a file (contract: `base`)."""
