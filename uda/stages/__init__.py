"""F4: one verb a file; each reads and writes manifests."""
