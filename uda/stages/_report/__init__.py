"""Parts of the report: what is read, tables, curves, pictures, published rows, the page."""
