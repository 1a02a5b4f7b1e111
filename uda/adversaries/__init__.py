"""F2: adversaries of the segmenter, one method a file (contract: `base`)."""
