"""Container images: built, inspected and proved."""
