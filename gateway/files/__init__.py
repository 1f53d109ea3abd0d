"""Uploaded and produced files: the file store, media types and signed uploads."""
